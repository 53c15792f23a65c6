"""Lists actors in quarantine for operators, with findings and decisions."""

from collections.abc import Sequence

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.errors import NotFound
from app.labels.quarantine import service
from app.labels.summaries import service as summaries
from app.pages import Page, key_of_cursor, page_of, storable_key
from app.projects.protection import service as protections


def page(
    session: Session,
    project: str,
    *,
    state: wire.QuarantineState | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[wire.QuarantinedActor]:
    """Returns the actors with a finding or a decision, by id; only those in `state`, unless it is None."""
    figures = summaries.figures(session, project)
    actors = figures.actors(state, key_of_cursor(cursor, storable_key) or "", limit + 1)
    shown = _shown(session, project, figures, actors)
    return page_of(shown, limit, lambda actor: actor.actor, lambda actor: actor)


def get(session: Session, project: str, actor: str) -> wire.QuarantinedActor:
    """Returns an actor's findings and decision. Raises `NotFound` if there is neither: all votes count."""
    forms = protections.forms_of_actor(session, project, actor)
    for shown in _shown(session, project, summaries.figures(session, project), forms):
        if shown.findings or shown.decision is not None:
            return shown
    raise NotFound(
        f"The actor {actor!r} is not in quarantine and has no decision: the votes count.",
        code="actor_not_quarantined",
    )


def _shown(
    session: Session, project: str, figures: summaries.Figures, actors: Sequence[str]
) -> list[wire.QuarantinedActor]:
    findings = figures.findings(actors)
    decisions = service.newest(session, project, actors=actors)
    return [
        wire.QuarantinedActor(
            actor=actor,
            state=decisions[actor].decision if actor in decisions else "quarantined",
            findings=list(findings.get(actor, ())),
            decision=decisions.get(actor),
        )
        for actor in actors
    ]
