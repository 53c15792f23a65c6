"""Decides which actors are in quarantine: by the findings of the policy's rules, and by decisions of operators."""

from collections.abc import Collection
from datetime import datetime

import polars as pl
from sqlalchemy.orm import Session
from thumbwheel import wire

from app.database import now
from app.errors import NotFound
from app.feedback import service as feedback
from app.labels.guards.findings import findings
from app.labels.quarantine import store
from app.labels.whole_log.labelled import Labelled
from app.pages import Page, key_of_cursor, number_up_to, page_of
from app.projects import service as projects
from app.projects.protection import service as protections
from app.webhooks import service as webhooks

#: The largest integer of Postgres.
MOST_DECISIONS = 2**31 - 1
CONFIRMED = "quarantine_confirmed"


def left_out(
    session: Session, project: str, policy: wire.LabelPolicy, labelled: Labelled, *, as_of: datetime | None = None
) -> dict[str, tuple[str, ...]]:
    """Returns the actors whose votes do not count, with the reasons: see `reasons`.

    labelled  the labels that `policy` gives when no actor is left out
    """
    found = findings(labelled.judgements, policy.guards.quarantine)
    return reasons(session, project, found, labelled.actors, as_of=as_of)


def reasons(
    session: Session, project: str, found: pl.DataFrame, actors: pl.Series, *, as_of: datetime | None = None
) -> dict[str, tuple[str, ...]]:
    """Returns the actors whose votes do not count, with the reasons: `quarantined_` and the rule, or
    `quarantine_confirmed`.

    found  the findings on `actors`: see `FINDINGS`
    as_of  counts only decisions up to this time, so that the same log always gives the same rows
    """
    decisions = newest(session, project, as_of=as_of)
    by_actor: dict[str, tuple[str, ...]] = {}
    for actor, rule in zip(actors.gather(found["actor"]), found["rule"], strict=True):
        if actor not in decisions:
            by_actor[actor] = (*by_actor.get(actor, ()), reason(rule))
    confirmed = (taken.actor for taken in decisions.values() if taken.decision == "confirmed")
    return dict(sorted({**by_actor, **dict.fromkeys(confirmed, (CONFIRMED,))}.items()))


def reason(rule: str) -> str:
    """Returns the reason why votes of an actor with a finding by this rule do not count."""
    return f"quarantined_{rule}"


def decide(session: Session, project: str, new: wire.NewQuarantineDecision, by: str) -> wire.QuarantineDecision:
    """Stores a decision whether the votes of an actor count from now on. It needs no finding. Where some of the actor's
    events are stored by a hash and others by the id itself, it stores one for each, and returns that for the present
    form.

    Raises `NotFound` if the actor has given no feedback.
    """
    forms = protections.forms_of_actor(session, project, new.actor)
    stored_by = [form for form in forms if feedback.has_events_of(session, project, form)]
    if not stored_by:
        raise NotFound(f"No feedback of an actor {new.actor!r} is stored: check the id.", code="actor_not_found")
    projects.lock(session, project)  # decisions are counted one after the other
    *_, decision = (
        _decide(session, project, new.model_copy(update={"actor": form}), by) for form in reversed(stored_by)
    )
    return decision


def _decide(session: Session, project: str, new: wire.NewQuarantineDecision, by: str) -> wire.QuarantineDecision:
    values = {
        **new.model_dump(),
        "project_id": project,
        "number": store.newest_number(session, project) + 1,
        "by": by,
        "at": now(),
    }
    stored = wire.QuarantineDecision.model_validate(store.append(session, values))
    url = webhooks.link(project, "/v1/quarantine/decisions")
    data = wire.DecisionWebhookData(project=project, url=url, number=stored.number, decision=stored.decision)
    webhooks.publish(session, project, f"quarantine.{stored.decision}", data)
    return stored


def newest(
    session: Session, project: str, *, as_of: datetime | None = None, actors: Collection[str] | None = None
) -> dict[str, wire.QuarantineDecision]:
    """Returns by actor, of all or of `actors`, the decision that counts: the newest, or the newest up to `as_of`."""
    if as_of is not None:
        _let_decisions_commit(session, project)
    rows = store.newest_of_each(session, project, as_of, actors)
    return {row.actor: wire.QuarantineDecision.model_validate(row) for row in rows}


def erase(session: Session, project: str, actor: str) -> int:
    """Deletes the decisions on an actor who is being erased. Returns their number."""
    return store.erase(session, project, actor)


def decisions(session: Session, project: str) -> int:
    """Returns the number of decisions so far."""
    return store.newest_number(session, project)


def page(
    session: Session, project: str, *, actor: str | None = None, cursor: str | None = None, limit: int = 50
) -> Page[wire.QuarantineDecision]:
    """Returns all decisions, or those on one actor, the newest first."""
    actors = None if actor is None else protections.forms_of_actor(session, project, actor)
    rows = store.newest_first(
        session, project, actors=actors, before=key_of_cursor(cursor, number_up_to(MOST_DECISIONS)), limit=limit + 1
    )
    return page_of(rows, limit, lambda row: str(row.number), wire.QuarantineDecision.model_validate)


def _let_decisions_commit(session: Session, project: str) -> None:
    """Waits for a decision that already has its time but is not committed yet. Releases the lock at once."""
    savepoint = session.begin_nested()
    try:
        projects.lock(session, project)
    finally:
        savepoint.rollback()
