"""`thumbwheel quarantine …`: whose votes wait for a decision, and deciding."""

from enum import StrEnum
from typing import Annotated, Literal

import typer
from thumbwheel import wire

from app.cli.connection import AsJson, Project, connected
from app.cli.listing import show_all, show_one, when

quarantine = typer.Typer(
    help="Actors whose votes do not count until somebody decides.", no_args_is_help=True, rich_markup_mode=None
)

#: Every vote of the project is looked at.
LIST_SECONDS = 600

Actor = Annotated[str, typer.Argument(help="The actor's id, as events have it.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept with the decision.")]


class State(StrEnum):
    QUARANTINED = "quarantined"
    CONFIRMED = "confirmed"
    RELEASED = "released"


@quarantine.command("list")
def list_quarantine(
    state: Annotated[State | None, typer.Option(help="Only those in it.")] = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """List the actors that were found or decided on."""
    columns = {
        "actor": lambda item: item.actor,
        "state": lambda item: item.state,
        "found": lambda item: "; ".join(f"{one.rule}: {one.said}" for one in item.findings) or "–",
        "examples": lambda item: ", ".join(item.findings[0].examples[:2]) if item.findings else "–",
        "decided": lambda item: when(item.decision.at) if item.decision else "–",
        "why": lambda item: item.decision.reason if item.decision else "",
    }
    with connected(project, timeout=LIST_SECONDS) as client:
        show_all(client.quarantine.list(state.value if state else None), columns, as_json=as_json)


@quarantine.command()
def show(actor: Actor, project: Project = None, as_json: AsJson = False) -> None:
    """Show what was found of an actor, and what was decided."""
    with connected(project, timeout=LIST_SECONDS) as client:
        found = client.quarantine.get(actor)
    decided = found.decision
    rules: dict[str, str] = {one.rule: one.said for one in found.findings}
    lines = {
        "actor": found.actor,
        "state": found.state,
        **rules,
        "examples": "\n".join(dict.fromkeys(example for one in found.findings for example in one.examples)) or "–",
        "decided": f"{decided.decision} {when(decided.at)} by {decided.by}: {decided.reason}" if decided else "–",
    }
    show_one(found, lines, as_json=as_json)


@quarantine.command()
def release(actor: Actor, reason: Reason, project: Project = None, as_json: AsJson = False) -> None:
    """Have an actor's votes count, whatever the rules find."""
    _decide(actor, "released", reason, project, as_json)


@quarantine.command()
def confirm(actor: Actor, reason: Reason, project: Project = None, as_json: AsJson = False) -> None:
    """Leave an actor's votes out, found or not."""
    _decide(actor, "confirmed", reason, project, as_json)


def _decide(
    actor: str, decision: Literal["released", "confirmed"], reason: str, project: str | None, as_json: bool
) -> None:
    new = wire.NewQuarantineDecision(actor=actor, decision=decision, reason=reason)
    with connected(project) as client:
        taken = client.quarantine.decide(new)
    lines = {
        "actor": taken.actor,
        "decision": taken.decision,
        "why": taken.reason,
        "by": taken.by,
        "at": when(taken.at),
    }
    show_one(taken, lines, as_json=as_json)
