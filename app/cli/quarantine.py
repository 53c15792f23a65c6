"""`thumbwheel quarantine …`: lists actors in quarantine and decides on them."""

from enum import StrEnum
from typing import Annotated, Literal

import typer
from thumbwheel import wire

from app.cli.connection import AsJson, Project, connected
from app.cli.listing import show_all, show_one, when

quarantine = typer.Typer(
    help="Actors whose votes wait for an operator's decision.", no_args_is_help=True, rich_markup_mode=None
)

#: A listing reads every vote of the project.
LIST_SECONDS = 600

Actor = Annotated[str, typer.Argument(help="The actor's id, as in events.")]
Reason = Annotated[str, typer.Option(help="The reason, which is stored with the decision.")]


class ActorState(StrEnum):
    QUARANTINED = "quarantined"
    CONFIRMED = "confirmed"
    RELEASED = "released"


@quarantine.command("list")
def list_quarantine(
    state: Annotated[ActorState | None, typer.Option(help="List only actors in this state.")] = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """List the actors with findings or decisions."""
    columns = {
        "actor": lambda item: item.actor,
        "state": lambda item: item.state,
        "findings": lambda item: "; ".join(f"{finding.rule}: {finding.said}" for finding in item.findings) or "–",
        "examples": lambda item: ", ".join(item.findings[0].examples[:2]) if item.findings else "–",
        "decided": lambda item: when(item.decision.at) if item.decision else "–",
        "why": lambda item: item.decision.reason if item.decision else "",
    }
    with connected(project, timeout=LIST_SECONDS) as client:
        show_all(client.quarantine.list(state.value if state else None), columns, as_json=as_json)


@quarantine.command()
def show(actor: Actor, project: Project = None, as_json: AsJson = False) -> None:
    """Show the findings on an actor and the decision."""
    with connected(project, timeout=LIST_SECONDS) as client:
        item = client.quarantine.get(actor)
    decision = item.decision
    rules: dict[str, str] = {finding.rule: finding.said for finding in item.findings}
    examples = dict.fromkeys(example for finding in item.findings for example in finding.examples)
    lines = {
        "actor": item.actor,
        "state": item.state,
        **rules,
        "examples": "\n".join(examples) or "–",
        "decided": f"{decision.decision} {when(decision.at)} by {decision.by}: {decision.reason}" if decision else "–",
    }
    show_one(item, lines, as_json=as_json)


@quarantine.command()
def release(actor: Actor, reason: Reason, project: Project = None, as_json: AsJson = False) -> None:
    """Count an actor's votes, whatever the findings."""
    _decide(actor, "released", reason, project, as_json)


@quarantine.command()
def confirm(actor: Actor, reason: Reason, project: Project = None, as_json: AsJson = False) -> None:
    """Exclude an actor's votes, whatever the findings."""
    _decide(actor, "confirmed", reason, project, as_json)


def _decide(
    actor: str, decision: Literal["released", "confirmed"], reason: str, project: str | None, as_json: bool
) -> None:
    new = wire.NewQuarantineDecision(actor=actor, decision=decision, reason=reason)
    with connected(project) as client:
        stored = client.quarantine.decide(new)
    lines = {
        "actor": stored.actor,
        "decision": stored.decision,
        "why": stored.reason,
        "by": stored.by,
        "at": when(stored.at),
    }
    show_one(stored, lines, as_json=as_json)
