"""`thumbwheel ship`, `rollback`, `releases` and `time-to-learn`: the ledger of releases."""

from typing import Annotated

import typer
from thumbwheel import wire

from app.cli.checkpoints import Which
from app.cli.connection import AsJson, Project, connected, find_id, short_id
from app.cli.listing import show_all, show_one, when


def ship(
    checkpoint: Which,
    share: Annotated[
        float | None, typer.Option(help="Try it as a canary on this share of the actors, between 0 and 1.")
    ] = None,
    reason: Annotated[str, typer.Option(help="The reason, for the ledger.")] = "",
    override_reason: Annotated[
        str | None, typer.Option(help="Ship although its gates did not pass, for this reason; it is kept for good.")
    ] = None,
    override_scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE", help="A rule that is overridden; may be repeated.  [default: all that did not pass]"
        ),
    ] = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Put a checkpoint into production."""
    with connected(project) as client:
        checkpoint_id = find_id(checkpoint, client.checkpoints.list(), "checkpoint")
        release = client.releases.ship(
            checkpoint_id,
            share=share,
            reason=reason,
            override_reason=override_reason,
            override_scope=override_scope or None,
        )
    _show_release(release, as_json)


def rollback(
    reason: Annotated[str, typer.Option(help="The reason, for the ledger.")] = "",
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """End the canary. Without one, return to the previously shipped checkpoint."""
    with connected(project) as client:
        _show_release(client.releases.roll_back(reason=reason), as_json)


def releases(project: Project = None, as_json: AsJson = False) -> None:
    """List the releases with their reasons, newest first."""
    columns = {
        "no.": lambda item: str(item.number),
        "action": _action,
        "checkpoint": lambda item: short_id(item.checkpoint_id),
        "by": lambda item: item.by,
        "at": lambda item: when(item.created_at),
        "why": lambda item: item.override_reason or item.reason,
    }
    with connected(project) as client:
        show_all(client.releases.list(), columns, as_json=as_json)


def time_to_learn(project: Project = None, as_json: AsJson = False) -> None:
    """Show how old feedback is when a checkpoint that learnt from it ships."""
    with connected(project) as client:
        found = client.releases.time_to_learn()
    lines = {
        f"release {item.release_number}": f"{item.events:,} events, half younger than {_age(item.p50_seconds)}, "
        f"90 % than {_age(item.p90_seconds)}"
        for item in found.releases
    }
    if found.waiting is not None:
        lines["waiting"] = f"{found.waiting.events:,} events, the oldest for {_age(found.waiting.oldest_seconds)}"
    if found.objective is not None:
        lines["objective"] = _objective(found.objective)
    show_one(found, lines or {"releases": "none has learnt from feedback yet"}, as_json=as_json)


def _objective(item: wire.ObjectiveReport) -> str:
    goal = f"{item.share:.0%} within {item.hours:g} h"
    if item.in_time is None:
        return f"{goal}; no event has become due in the last {item.days} days"
    return f"{goal}; in the last {item.days} days {item.in_time:.0%} of {item.due:,}, burn {item.burn:.2f}"


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _show_release(item: wire.Release, as_json: bool) -> None:
    lines = {
        "release": f"{item.number} ({_action(item)})",
        "checkpoint": str(item.checkpoint_id),
        "by": item.by,
        "at": when(item.created_at),
        "why": item.override_reason or item.reason or "–",
        "overridden rules": ", ".join(item.override_scope or ()) or "–",
    }
    show_one(item, lines, as_json=as_json)


def _action(item: wire.Release) -> str:
    return item.action if item.share is None else f"{item.action}, {item.share:.0%} of actors"
