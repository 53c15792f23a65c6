"""`thumbwheel retention …`: how long feedback is kept, what expired, and what a rule would delete."""

import sys
from typing import Annotated, Literal

import typer
from thumbwheel import wire

from app.cli.connection import AsJson, Project, connected, short_id
from app.cli.listing import show_all, show_one, when
from app.errors import Invalid

retention = typer.Typer(help="How long feedback is kept.", no_args_is_help=True, rich_markup_mode=None)

Months = Annotated[int | None, typer.Option(min=1, help="Keep the current month and this many before it.")]
Snapshots = Annotated[
    Literal["redact", "keep"] | None,
    typer.Option(help="Take expired rows out of snapshots, or keep these whole until they are as old themselves."),
]


@retention.command()
def show(project: Project = None, as_json: AsJson = False) -> None:
    """Show the rule, what it deleted so far, and what is under way."""
    with connected(project) as client:
        item = client.projects.retention()
    lines = {
        "project": item.project,
        "keeps": rule_in_words(item.rules),
        "since": when(item.keeps_from),
        "deleted": f"{item.events:,} events and {item.completions:,} registered texts of {item.months} months",
        "last": when(item.last_finished_at),
        "under way": "\n".join(f"{each.month}  {each.step}  {each.trouble or ''}".strip() for each in item.unfinished)
        or "–",
        "legal holds": "\n".join(map(str, item.held)) or "–",
    }
    show_one(item, lines, as_json=as_json)


@retention.command()
def preview(
    months: Months = None, snapshots: Snapshots = None, project: Project = None, as_json: AsJson = False
) -> None:
    """Show what a rule, or that of the project, would delete now. Nothing is changed."""
    with connected(project) as client:
        own = client.projects.get().retention
        rules = wire.RetentionRules(months=months or own.months, snapshots=snapshots or own.snapshots)
        item = client.projects.retention_preview(rules)
    show_one(item, _preview_lines(item), as_json=as_json)


@retention.command("set")
def set_rule(
    months: Months = None,
    snapshots: Snapshots = None,
    off: Annotated[bool, typer.Option("--off", help="Keep everything.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, although feedback is deleted at once.")] = False,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Change the rule. What it no longer keeps is deleted from the next round of the loop on."""
    if off == (months is not None):
        raise Invalid("Give either --months or --off.", code="invalid_option")
    rules = wire.RetentionRules(months=months, snapshots=snapshots or "redact")
    with connected(project) as client:
        if not off and not yes:
            _ask(client.projects.retention_preview(rules))
        item = client.projects.change(wire.ProjectChange(retention=rules))
    show_one(item, {"project": item.project, "keeps": rule_in_words(item.retention)}, as_json=as_json)


@retention.command("months")
def list_months(project: Project = None, as_json: AsJson = False) -> None:
    """List the records of deleted months, newest first."""
    columns = {
        "id": lambda item: short_id(item.id),
        "month": lambda item: item.month,
        "state": lambda item: item.state,
        "rule": lambda item: rule_in_words(item.rules),
        "done": lambda item: when(item.finished_at),
        "events": lambda item: f"{item.events:,}",
        "texts": lambda item: f"{item.completions:,}",
        "snapshots": lambda item: str(len(item.snapshots)),
        "partition": lambda item: "dropped" if item.dropped else "–",
        "held": lambda item: str(len(item.held)),
        "cause": lambda item: item.trouble or "",
    }
    with connected(project) as client:
        show_all(client.projects.expired_months(), columns, as_json=as_json)


def rule_in_words(rules: wire.RetentionRules) -> str:
    """Returns a rule for one line."""
    if rules.months is None:
        return "everything"
    return f"{rules.months} months, snapshots: {rules.snapshots}"


def _ask(item: wire.RetentionPreview) -> None:
    """Asks whether to delete what the preview shows. Raises `Invalid` if there is nobody to ask."""
    if not item.months and not item.completions:
        return
    found = f"{item.events:,} events of {len(item.months)} months and up to {item.completions:,} registered texts"
    if not sys.stdin.isatty():
        raise Invalid(
            f"This deletes {found} at once: look at `thumbwheel retention preview`, and add --yes.",
            code="not_confirmed",
        )
    typer.confirm(f"Delete {found}? They cannot be restored.", abort=True, err=True)


def _preview_lines(item: wire.RetentionPreview) -> dict[str, str]:
    def how(month: wire.PreviewedMonth) -> str:
        return "with its partition" if month.droppable else "row by row"

    return {
        "project": item.project,
        "keeps": rule_in_words(item.rules),
        "since": when(item.keeps_from),
        "months": "\n".join(f"{each.month}  {each.events:,} events, {how(each)}" for each in item.months) or "–",
        "events": f"{item.events:,}",
        "registered texts": f"up to {item.completions:,}: those that feedback left refers to stay",
        "snapshots searched": "\n".join(map(str, item.snapshots_searched)) or "–",
        "of these in use": "\n".join(map(str, item.snapshots_in_use)) or "–",
        "legal holds": "\n".join(map(str, item.held)) or "–",
        "held": "the whole project: nothing would be deleted" if item.held_whole else "only what these holds cover",
    }
