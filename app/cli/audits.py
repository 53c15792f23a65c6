"""`thumbwheel audit …`: are the labels right? Somebody looks at a sample and says so."""

from typing import Annotated
from uuid import UUID

import typer
from thumbwheel import Client, wire
from thumbwheel.wire.audits import AUDIT_PER_CLASS, MAX_SEED

from app.cli.connection import AsJson, Project, connected, ending, of_ending
from app.cli.listing import as_table, figure, print_json, show_all, show_one, when
from app.cli.review import reviewed, shown
from app.errors import Invalid

audit = typer.Typer(
    help="Are the labels right? A sample, judged by people.", no_args_is_help=True, rich_markup_mode=None
)

Which = Annotated[
    str | None, typer.Argument(metavar="[AUDIT]", help="Its id, or how that ends.  [default: the newest]")
]
#: Every label of the project is looked at.
START_SECONDS = 600


@audit.command()
def start(
    per_class: Annotated[
        int, typer.Option(min=1, max=5000, help="Rows of each class; all where there are fewer.")
    ] = AUDIT_PER_CLASS,
    seed: Annotated[
        int, typer.Option(min=0, max=MAX_SEED, help="Another seed draws other rows of the same labels.")
    ] = 0,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Draw a sample of the labels as they are now."""
    with connected(project, timeout=START_SECONDS) as client:
        _show(client.audits.start(wire.NewAudit(per_class=per_class, seed=seed)), as_json)


@audit.command("list")
def list_audits(project: Project = None, as_json: AsJson = False) -> None:
    """List audits, newest first."""
    columns = {
        "id": lambda item: ending(item.id),
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
    """Show what an audit found: the precision of each class."""
    with connected(project) as client:
        _show(client.audits.get(_chosen(client, audit)), as_json)


@audit.command("next")
def next_item(audit: Which = None, project: Project = None, as_json: AsJson = False) -> None:
    """Show the next row to judge. Exit code 1 when there is none."""
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
    audit: Annotated[str, typer.Argument(help="The audit's id, or how that ends.")],
    number: Annotated[int, typer.Argument(help="Of the row.")],
    verdict: Annotated[str, typer.Argument(help="agree, disagree or unsure.")],
    note: Annotated[str, typer.Option(help="Why.")] = "",
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Say whether the label of one row is right; again to say something else."""
    new = wire.NewAuditVerdict.model_validate({"verdict": verdict, "note": note})
    with connected(project) as client:
        _show_item(client.audits.give_verdict(_chosen(client, audit), number, new), as_json)


@audit.command()
def review(audit: Which = None, project: Project = None) -> None:
    """Judge row by row, a key each, from where you stopped. From a pipe: a key a line."""
    with connected(project) as client:
        audit_id = _chosen(client, audit)
        reviewed(client, audit_id)
        found = client.audits.get(audit_id)
    for part in found.classes:
        typer.echo(f"{part.label}: {_said(part)}")
    if found.pending:
        typer.echo(
            f"{found.pending} of {found.items} rows wait: go on with `thumbwheel audit review {ending(audit_id)}`."
        )
    else:
        typer.echo("Every row has a verdict.")


def _chosen(client: Client, audit: str | None) -> UUID:
    if audit is not None:
        return of_ending(audit, client.audits.list(), "audit")
    newest = next(client.audits.list(), None)
    if newest is None:
        raise Invalid("There is no audit yet: draw one with `thumbwheel audit start`.", code="no_audit")
    return newest.id


def _show(item: wire.Audit, as_json: bool) -> None:
    lines = {
        "id": str(item.id),
        "rows": f"{item.items}, {item.pending} without a verdict",
        **{part.label: _said(part, f" of {part.rows}") for part in item.classes},
        **{f"{part.label}, {part.kind}": _said(part) for part in item.kinds},
        "policy": f"{item.policy_name} {item.policy_version}",
        "drawn": f"{when(item.created_at)} by {item.created_by}, seed {item.seed}, up to position {item.watermark}",
    }
    show_one(item, lines, as_json=as_json)


def _said(part: wire.AuditFigure, of: str = "") -> str:
    return (
        f"{figure(_figures(part))}: {part.agreed} of {part.judged} right, {part.unsure} unsure, {part.items}{of} drawn"
    )


def _figures(part: wire.AuditFigure) -> dict[str, float | None]:
    return {"value": part.precision, "low": part.low, "high": part.high}


def _show_item(item: wire.AuditItem, as_json: bool) -> None:
    if as_table(as_json):
        typer.echo(shown(item))
    else:
        print_json(item.model_dump(mode="json"))
