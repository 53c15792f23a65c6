"""`thumbwheel actors erase` and `thumbwheel erasures …` erase feedback; `thumbwheel receipt` traces one event."""

import time
from collections.abc import Iterable
from typing import Annotated

import typer
from thumbwheel import Client, wire

from app.cli.connection import PATIENT_TRIES, TRIES, AsJson, Project, connected, find_id, short_id
from app.cli.listing import show_all, show_one, when
from app.errors import Refused

actors = typer.Typer(help="People who gave feedback.", no_args_is_help=True, rich_markup_mode=None)
erasures = typer.Typer(help="Erasures of actors, and their certificates.", no_args_is_help=True, rich_markup_mode=None)

Which = Annotated[str, typer.Argument(help="Its id, or its last characters.")]

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0


@actors.command()
def erase(
    actor: Annotated[str, typer.Argument(help="The actor's id, as in events.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is done.")] = False,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Erase all feedback of an actor, and store no new feedback from them."""
    with connected(project, tries=PATIENT_TRIES if wait else TRIES) as client:
        erasure = client.erasures.start(actor)
        _show(_wait_for(client, erasure) if wait else erasure, as_json)


@erasures.command("list")
def list_erasures(project: Project = None, as_json: AsJson = False) -> None:
    """List erasures, newest first."""
    columns = {
        "id": lambda item: short_id(item.id),
        "state": lambda item: item.state,
        "requested": lambda item: when(item.requested_at),
        "by": lambda item: item.requested_by,
        "done": lambda item: when(item.finished_at),
        "blocked": lambda item: "yes" if item.tombstone else "no",
        "vacuumed": lambda item: when(item.vacuumed_at),
        "cause": lambda item: item.trouble or "",
    }
    with connected(project) as client:
        show_all(client.erasures.list(), columns, as_json=as_json)


@erasures.command()
def show(erasure: Which, project: Project = None, as_json: AsJson = False) -> None:
    """Show an erasure: its progress, or its certificate."""
    with connected(project) as client:
        item = client.erasures.get(find_id(erasure, client.erasures.list(), "erasure"))
    _show(item, as_json)


@erasures.command()
def lift(erasure: Which, project: Project = None, as_json: AsJson = False) -> None:
    """Unblock the actor of an erasure: their new feedback is stored again."""
    with connected(project) as client:
        item = client.erasures.lift_tombstone(find_id(erasure, client.erasures.list(), "erasure"))
    _show(item, as_json)


def receipt(
    event_id: Annotated[str, typer.Argument(help="The event's id.")], project: Project = None, as_json: AsJson = False
) -> None:
    """Show what became of one event: its label, and the snapshots, runs and checkpoints with it."""
    with connected(project) as client:
        item = client.events.receipt(event_id)
    signal = item.label.signal
    lines = {
        "event": item.event_id,
        "received": when(item.received_at),
        "completion": item.completion_id,
        "label": item.label.sentence,
        "this event": f"{signal.says or 'nothing'}: {'counts' if signal.counts else 'does not count'}, {signal.why}",
        "never train": "yes" if item.never_train else "no",
        "snapshots": _lines(
            f"{row.snapshot_id}  {row.split}, {row.label} at weight {row.weight:g} ({row.reason})"
            for row in item.snapshots
        ),
        "runs": _lines(f"{run.run_id}  {run.state}" for run in item.runs),
        "checkpoints": _lines(map(_checkpoint_line, item.checkpoints)),
    }
    show_one(item, lines, as_json=as_json)


def _wait_for(client: Client, erasure: wire.Erasure) -> wire.Erasure:
    pause, shown = FIRST_PAUSE, None
    while erasure.state in ("pending", "running"):
        if any(met.until is None for met in erasure.held):
            raise Refused(f"Erasure {erasure.id} waits. {erasure.trouble}", code="legal_hold")
        if erasure.trouble not in (None, shown):
            shown = erasure.trouble
            typer.echo(f"waiting: {shown}", err=True)
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
        erasure = client.erasures.get(erasure.id)
    if erasure.state == "failed":
        raise Refused(
            f"Erasure {erasure.id} failed: {erasure.trouble} {erasure.remedy}",
            code="erasure_failed",
        )
    return erasure


def _show(item: wire.Erasure, as_json: bool) -> None:
    lines = {
        "erasure": str(item.id),
        "state": item.state,
        "cause" if item.state == "failed" else "waits for": item.trouble or "–",
        **({"remedy": item.remedy} if item.remedy else {}),
        "requested": f"{when(item.requested_at)} by {item.requested_by}",
        **({"legal holds": _lines(map(_hold_line, item.held))} if item.held else {}),
        "done": when(item.finished_at),
        "blocked": "yes" if item.tombstone else f"no, since {when(item.lifted_at)}",
    }
    certificate = item.certificate
    if certificate is not None:
        lines |= {
            "events": str(certificate.events),
            "registered texts": str(certificate.completions),
            "rows of audits": str(certificate.audit_items),
            "suspicions": str(certificate.suspicions),
            "decisions": str(certificate.quarantine_decisions),
            "snapshots": _lines(
                f"{cut.snapshot_id} → {cut.successor_id or 'nothing left'}: {cut.rows} rows, {', '.join(cut.shards)}"
                for cut in certificate.snapshots
            ),
            "trained checkpoints": _lines(map(_checkpoint_line, certificate.checkpoints)),
            "vacuumed": when(item.vacuumed_at),
            "tables": _lines(map(_table_line, certificate.tables)),
            "still training": _lines(f"{run.run_id}  {run.state}" for run in certificate.runs),
        }
    show_one(item, lines, as_json=as_json)


def _hold_line(met: wire.ErasureHold) -> str:
    return f"{met.hold_id}  since {when(met.since)}" + (f" until {when(met.until)}" if met.until else ", in force")


def _checkpoint_line(touched: wire.TouchedCheckpoint) -> str:
    live = "; ".join(
        f"live since {when(period.since)}" if period.until is None else f"{when(period.since)} to {when(period.until)}"
        for period in touched.live
    )
    path = "" if touched.itself else ", through an earlier checkpoint"
    return f"{touched.checkpoint_id}  {live or 'never shipped'}{path}"


def _table_line(table: wire.ErasedTable) -> str:
    if table.vacuumed_at is None:
        return f"{table.table}  not vacuumed yet"
    how = {True: "rewritten", False: "vacuumed, not rewritten: its free space may hold old bytes", None: "dropped"}
    return f"{table.table}  {how[table.rewritten]}"


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines) or "–"
