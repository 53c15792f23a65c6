"""`thumbwheel actors erase`, `thumbwheel erasures …`, `thumbwheel receipt EVENT_ID`: erasing, and what became of it."""

import time
from collections.abc import Iterable
from typing import Annotated

import typer
from thumbwheel import Client, wire

from app.cli.connection import PATIENT_TRIES, AsJson, Project, connected, ending, of_ending
from app.cli.listing import show_all, show_one, when
from app.errors import Refused

actors = typer.Typer(help="People who gave feedback.", no_args_is_help=True, rich_markup_mode=None)
erasures = typer.Typer(help="Erasures of actors, and their certificates.", no_args_is_help=True, rich_markup_mode=None)

Which = Annotated[str, typer.Argument(help="Its id, or how that ends.")]

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0


@actors.command()
def erase(
    actor: Annotated[str, typer.Argument(help="The actor's id, as events have it.")],
    wait: Annotated[bool, typer.Option("--wait", help="Until it is done.")] = False,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Erase all feedback of an actor, and store no more of it."""
    with connected(project, tries=PATIENT_TRIES if wait else 3) as client:
        found = client.erasures.start(actor)
        _show(_waited_for(client, found) if wait else found, as_json)


@erasures.command("list")
def list_erasures(project: Project = None, as_json: AsJson = False) -> None:
    """List erasures, newest first."""
    columns = {
        "id": lambda item: ending(item.id),
        "state": lambda item: item.state,
        "requested": lambda item: when(item.requested_at),
        "by": lambda item: item.requested_by,
        "done": lambda item: when(item.finished_at),
        "kept away": lambda item: "yes" if item.tombstone else "no",
        "vacuumed": lambda item: when(item.vacuumed_at),
        "cause": lambda item: item.trouble or "",
    }
    with connected(project) as client:
        show_all(client.erasures.list(), columns, as_json=as_json)


@erasures.command()
def show(erasure: Which, project: Project = None, as_json: AsJson = False) -> None:
    """Show an erasure: how far it is, or its certificate."""
    with connected(project) as client:
        found = client.erasures.get(of_ending(erasure, client.erasures.list(), "erasure"))
    _show(found, as_json)


@erasures.command()
def lift(erasure: Which, project: Project = None, as_json: AsJson = False) -> None:
    """Let the actor of an erasure come back: what they say is stored again."""
    with connected(project) as client:
        found = client.erasures.lift_tombstone(of_ending(erasure, client.erasures.list(), "erasure"))
    _show(found, as_json)


def receipt(
    event_id: Annotated[str, typer.Argument(help="The event's id.")], project: Project = None, as_json: AsJson = False
) -> None:
    """Say what became of one event: its label, and what rests on it."""
    with connected(project) as client:
        found = client.events.receipt(event_id)
    signal = found.label.signal
    lines = {
        "event": found.event_id,
        "received": when(found.received_at),
        "completion": found.completion_id,
        "label": found.label.sentence,
        "this event": f"{signal.says or 'nothing'}: {'counts' if signal.counts else 'does not count'}, {signal.why}",
        "never train": "yes" if found.never_train else "no",
        "snapshots": _lines(
            f"{row.snapshot_id}  {row.split}, {row.label} at weight {row.weight:g} ({row.reason})"
            for row in found.snapshots
        ),
        "runs": _lines(f"{run.run_id}  {run.state}" for run in found.runs),
        "checkpoints": _lines(map(_of_checkpoint, found.checkpoints)),
    }
    show_one(found, lines, as_json=as_json)


def _waited_for(client: Client, found: wire.Erasure) -> wire.Erasure:
    pause, shown = FIRST_PAUSE, None
    while found.state in ("pending", "running"):
        if found.trouble not in (None, shown):
            shown = found.trouble
            typer.echo(f"waiting: {shown}", err=True)
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
        found = client.erasures.get(found.id)
    if found.state == "failed":
        raise Refused(
            f"Erasure {found.id} failed: {found.trouble} {found.remedy}",
            code="erasure_failed",
        )
    return found


def _show(found: wire.Erasure, as_json: bool) -> None:
    lines = {
        "erasure": str(found.id),
        "state": found.state,
        "cause" if found.state == "failed" else "waits for": found.trouble or "–",
        **({"remedy": found.remedy} if found.remedy else {}),
        "requested": f"{when(found.requested_at)} by {found.requested_by}",
        "done": when(found.finished_at),
        "kept away": "yes" if found.tombstone else f"no, since {when(found.lifted_at)}",
    }
    certificate = found.certificate
    if certificate is not None:
        lines |= {
            "events": str(certificate.events),
            "registered texts": str(certificate.completions),
            "rows of audits": str(certificate.audit_items),
            "suspicions": str(certificate.suspicions),
            "decisions": str(certificate.quarantine_decisions),
            "snapshots": _lines(
                f"{one.snapshot_id} → {one.successor_id or 'nothing left'}: {one.rows} rows, {', '.join(one.shards)}"
                for one in certificate.snapshots
            ),
            "trained on them": _lines(map(_of_checkpoint, certificate.checkpoints)),
            "vacuumed": when(found.vacuumed_at),
            "tables": _lines(map(_of_table, certificate.tables)),
            "still training": _lines(f"{run.run_id}  {run.state}" for run in certificate.runs),
        }
    show_one(found, lines, as_json=as_json)


def _of_checkpoint(touched: wire.TouchedCheckpoint) -> str:
    live = "; ".join(
        f"live since {when(period.since)}" if period.until is None else f"{when(period.since)} to {when(period.until)}"
        for period in touched.live
    )
    return f"{touched.checkpoint_id}  {live or 'never shipped'}{'' if touched.itself else ', by way of one before it'}"


def _of_table(table: wire.ErasedTable) -> str:
    if table.vacuumed_at is None:
        return f"{table.table}  not vacuumed yet"
    how = {True: "rewritten", False: "vacuumed, not rewritten: its free space may hold old bytes", None: "dropped"}
    return f"{table.table}  {how[table.rewritten]}"


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines) or "–"
