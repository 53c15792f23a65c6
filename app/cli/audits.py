"""`thumbwheel audit …`: draws samples of labels and records the verdicts of people on them."""

from typing import Annotated
from uuid import UUID

import typer
from thumbwheel import Client, wire
from thumbwheel.wire.audits import AUDIT_PER_CLASS, MAX_SEED

from app.cli.connection import AsJson, Project, connected, find_id, short_id
from app.cli.listing import as_table, figure, print_json, show_all, show_one, when
from app.cli.review import item_text, review_rows
from app.errors import Invalid

audit = typer.Typer(help="Samples of labels that people check.", no_args_is_help=True, rich_markup_mode=None)

Which = Annotated[
    str | None, typer.Argument(metavar="[AUDIT]", help="Its id, or its last characters.  [default: the newest]")
]
#: An audit begins with a reading of every label of the project.
START_SECONDS = 600


@audit.command()
def start(
    per_class: Annotated[
        int, typer.Option(min=1, max=5000, help="Rows per class; all rows of a class with fewer.")
    ] = AUDIT_PER_CLASS,
    seed: Annotated[
        int, typer.Option(min=0, max=MAX_SEED, help="Seed of the sample: another seed draws other rows.")
    ] = 0,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Draw a sample of the current labels."""
    with connected(project, timeout=START_SECONDS) as client:
        _show(client.audits.start(wire.NewAudit(per_class=per_class, seed=seed)), as_json)


@audit.command("list")
def list_audits(project: Project = None, as_json: AsJson = False) -> None:
    """List audits, newest first."""
    columns = {
        "id": lambda item: short_id(item.id),
        "rows": lambda item: str(item.items),
        "pending": lambda item: str(item.pending),
        "desirable": lambda item: figure(_figures(item.classes[0])),
        "undesirable": lambda item: figure(_figures(item.classes[1])),
        "policy": lambda item: f"{item.policy_name} {item.policy_version}",
        "at": lambda item: when(item.created_at),
        "by": lambda item: item.created_by,
    }
    with connected(project) as client:
        show_all(client.audits.list(), columns, as_json=as_json)


@audit.command()
def show(audit: Which = None, project: Project = None, as_json: AsJson = False) -> None:
    """Show the results of an audit: the precision of each class."""
    with connected(project) as client:
        _show(client.audits.get(_chosen(client, audit)), as_json)


@audit.command("next")
def next_item(audit: Which = None, project: Project = None, as_json: AsJson = False) -> None:
    """Show the next row without a verdict. Exit code 1 if there is none."""
    with connected(project) as client:
        item = next(client.audits.items(_chosen(client, audit), pending=True), None)
    if item is None:
        if as_table(as_json):
            typer.echo("Every row has a verdict.")
        else:
            print_json(None)
        raise typer.Exit(1)
    _show_item(item, as_json)


@audit.command()
def verdict(
    audit: Annotated[str, typer.Argument(help="The audit's id, or its last characters.")],
    number: Annotated[int, typer.Argument(help="Number of the row.")],
    verdict: Annotated[str, typer.Argument(help="agree, disagree or unsure.")],
    note: Annotated[str, typer.Option(help="The reason.")] = "",
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Record whether the label of one row is right; a second call replaces the verdict."""
    new = wire.NewAuditVerdict.model_validate({"verdict": verdict, "note": note})
    with connected(project) as client:
        _show_item(client.audits.give_verdict(_chosen(client, audit), number, new), as_json)


@audit.command()
def review(audit: Which = None, project: Project = None) -> None:
    """Judge the rows without a verdict, one key per row. A pipe sends one key per line."""
    with connected(project) as client:
        audit_id = _chosen(client, audit)
        review_rows(client, audit_id)
        result = client.audits.get(audit_id)
    for part in result.classes:
        typer.echo(f"{part.label}: {_results(part)}")
    if result.pending:
        typer.echo(
            f"{result.pending} of {result.items} rows are left: continue with "
            f"`thumbwheel audit review {short_id(audit_id)}`."
        )
    else:
        typer.echo("Every row has a verdict.")


def _chosen(client: Client, audit: str | None) -> UUID:
    if audit is not None:
        return find_id(audit, client.audits.list(), "audit")
    newest = next(client.audits.list(), None)
    if newest is None:
        raise Invalid("There is no audit yet: draw one with `thumbwheel audit start`.", code="no_audit")
    return newest.id


def _show(item: wire.Audit, as_json: bool) -> None:
    lines = {
        "id": str(item.id),
        "rows": f"{item.items}, {item.pending} without a verdict",
        **{part.label: _results(part, f" of {part.rows}") for part in item.classes},
        **{f"{part.label}, {part.kind}": _results(part) for part in item.kinds},
        "policy": f"{item.policy_name} {item.policy_version}",
        "drawn": f"{when(item.created_at)} by {item.created_by}, seed {item.seed}, up to position {item.watermark}",
    }
    if item.mislabelled_good is not None and item.mislabelled_bad is not None:
        lines["recipe"] = f"mislabelled_good={item.mislabelled_good:.3f} mislabelled_bad={item.mislabelled_bad:.3f}"
    show_one(item, lines, as_json=as_json)


def _results(part: wire.AuditFigure, of: str = "") -> str:
    return (
        f"{figure(_figures(part))}: {part.agreed} of {part.judged} right, {part.unsure} unsure, {part.items}{of} drawn"
    )


def _figures(part: wire.AuditFigure) -> dict[str, float | None]:
    return {"value": part.precision, "low": part.low, "high": part.high}


def _show_item(item: wire.AuditItem, as_json: bool) -> None:
    if as_table(as_json):
        typer.echo(item_text(item))
    else:
        print_json(item.model_dump(mode="json"))
