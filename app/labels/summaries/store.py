"""SQL of stored summaries."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import delete, exists, func, insert, select, text, update
from sqlalchemy.orm import Session

from app.database import is_any_of
from app.labels.quarantine.tables import QuarantineDecision
from app.labels.summaries.summary import Summary
from app.labels.summaries.tables import ActorFindings, CheckpointApproval, LogSummary

AT_ONCE = 1_000


def summary(session: Session, project: str) -> LogSummary | None:
    return session.get(LogSummary, project, populate_existing=True)


def put(session: Session, project: str, header: Mapping[str, Any], fresh: Summary) -> None:
    """Stores a summary in place of the one before. The caller holds the project's lock."""
    forget(session, project)
    session.execute(insert(LogSummary).values(project_id=project, **header))
    approvals = (
        {
            "project_id": project,
            "checkpoint_id": row.checkpoint_id,
            "desirable": row.desirable,
            "undesirable": row.undesirable,
        }
        for row in fresh.approvals
    )
    _insert(session, CheckpointApproval, approvals)
    actors = (
        {
            "project_id": project,
            "actor": actor,
            "findings": [finding.model_dump(mode="json", exclude_defaults=True) for finding in findings],
        }
        for actor, findings in fresh.findings.items()
    )
    _insert(session, ActorFindings, actors)


def forget(session: Session, project: str) -> None:
    """Deletes the project's summary."""
    for table in (LogSummary, CheckpointApproval, ActorFindings):
        session.execute(delete(table).where(table.project_id == project))


def forget_events(session: Session, project: str, erased: str | None) -> None:
    """Deletes the project's summary, except that actors other than the erased one were found: not for what, as their
    findings may name this one and what it judged.
    """
    for table in (LogSummary, CheckpointApproval):
        session.execute(delete(table).where(table.project_id == project))
    of_project = ActorFindings.project_id == project
    if erased is not None:
        session.execute(delete(ActorFindings).where(of_project, ActorFindings.actor == erased))
    session.execute(update(ActorFindings).where(of_project).values(findings=[]))


def approvals(session: Session, project: str) -> list[CheckpointApproval]:
    query = select(CheckpointApproval).where(CheckpointApproval.project_id == project)
    return list(session.scalars(query.order_by(CheckpointApproval.checkpoint_id)))


def findings(session: Session, project: str, actors: Collection[str]) -> dict[str, list[dict[str, Any]]]:
    """Returns the findings on these actors; actors without findings are absent."""
    query = select(ActorFindings.actor, ActorFindings.findings).where(
        ActorFindings.project_id == project, is_any_of(ActorFindings.actor, actors)
    )
    return dict(session.execute(query).tuples().all())


_ACTORS = text("""
    SELECT actor FROM (
        SELECT actor FROM actor_findings WHERE project_id = :project AND actor > :after
        UNION
        SELECT actor FROM quarantine_decisions WHERE project_id = :project AND actor > :after
    ) AS listed LEFT JOIN LATERAL (
        SELECT decision FROM quarantine_decisions taken
        WHERE (taken.project_id, taken.actor) = (:project, listed.actor) ORDER BY number DESC LIMIT 1
    ) AS newest ON true
    WHERE CAST(:state AS text) IS NULL OR coalesce(decision, 'quarantined') = :state
    ORDER BY actor LIMIT :limit
""")


def actors(session: Session, project: str, state: str | None, after: str, limit: int) -> list[str]:
    """Returns the ids of actors with a finding or a decision, in their order."""
    values = {"project": project, "state": state, "after": after, "limit": limit}
    return list(session.scalars(_ACTORS, values))


def undecided(session: Session) -> Sequence[tuple[str, int]]:
    """Returns, by project, the number of actors with a finding on whom nobody has decided."""
    decided = exists().where(
        QuarantineDecision.project_id == ActorFindings.project_id, QuarantineDecision.actor == ActorFindings.actor
    )
    query = select(ActorFindings.project_id, func.count()).where(~decided)
    return session.execute(query.group_by(ActorFindings.project_id)).tuples().all()


def _insert(session: Session, table: type[Any], rows: Iterable[dict[str, Any]]) -> None:
    every = list(rows)
    for start in range(0, len(every), AT_ONCE):
        session.execute(insert(table), every[start : start + AT_ONCE])
