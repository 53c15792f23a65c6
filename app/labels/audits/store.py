"""SQL of audits."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import column, func, insert, select, table, text, tuple_
from sqlalchemy.orm import Session

from app.database import is_any_of
from app.labels.audits.shown import VerdictTally
from app.labels.audits.tables import LabelAudit, LabelAuditItem, LabelAuditVerdict, LabelSuspicion

#: Checkpoints belong to a neighbouring room; only their ids are read.
CHECKPOINTS = table("checkpoints", column("id"), column("project_id"))
#: The suspicion of an item without one in the order of the queue: lower than any other.
NO_SUSPICION = -1.0


_TALLIES = text("""
    SELECT item.audit_id, item.label, item.reason, count(*),
           count(*) FILTER (WHERE newest.verdict = 'agree'),
           count(*) FILTER (WHERE newest.verdict = 'disagree'),
           count(*) FILTER (WHERE newest.verdict = 'unsure')
    FROM label_audit_items item
    LEFT JOIN LATERAL (
        SELECT verdict FROM label_audit_verdicts given
        WHERE (given.audit_id, given.number) = (item.audit_id, item.number)
        ORDER BY revision DESC LIMIT 1) newest ON true
    WHERE item.audit_id = ANY(:audits)
    GROUP BY 1, 2, 3
""")

_PUT_SUSPICIONS = text("""
    INSERT INTO label_suspicions (project_id, checkpoint_id, completion_id, label, suspicion)
    SELECT :project, :checkpoint, *
    FROM unnest(CAST(:ids AS text[]), CAST(:labels AS bool[]), CAST(:values AS float8[]))
    ON CONFLICT (project_id, completion_id) DO UPDATE
    SET (checkpoint_id, label, suspicion) = (excluded.checkpoint_id, excluded.label, excluded.suspicion)
""")


def insert_audit(session: Session, values: dict[str, Any]) -> LabelAudit:
    return session.scalars(insert(LabelAudit).values(**values).returning(LabelAudit)).one()


def insert_items(session: Session, items: Iterable[dict[str, Any]]) -> None:
    session.execute(insert(LabelAuditItem), list(items))


def of_id(session: Session, project: str, audit_id: UUID) -> LabelAudit | None:
    return session.scalars(
        select(LabelAudit).where(LabelAudit.id == audit_id, LabelAudit.project_id == project)
    ).one_or_none()


def newest_first(session: Session, project: str, before: UUID | None, limit: int) -> Sequence[LabelAudit]:
    query = select(LabelAudit).where(LabelAudit.project_id == project).order_by(LabelAudit.id.desc()).limit(limit)
    if before is not None:
        query = query.where(LabelAudit.id < before)
    return session.scalars(query).all()


def since(session: Session, project: str, moment: datetime, labelling_sha256: str) -> Sequence[LabelAudit]:
    """Returns the audits since `moment` of the labels of one policy, newest first."""
    query = select(LabelAudit).where(
        LabelAudit.project_id == project,
        LabelAudit.created_at >= moment,
        LabelAudit.labelling_sha256 == labelling_sha256,
    )
    return session.scalars(query.order_by(LabelAudit.id.desc())).all()


def tallies(session: Session, audits: Iterable[UUID]) -> list[VerdictTally]:
    return [VerdictTally(*row) for row in session.execute(_TALLIES, {"audits": list(audits)})]


def queue(
    session: Session, audit_id: UUID, *, pending: bool, after: tuple[float, int] | None, limit: int
) -> Sequence[LabelAuditItem]:
    """Returns items, the most suspicious first, then by number. `after`: negative suspicion and number of the last item
    seen."""
    doubt = -func.coalesce(LabelAuditItem.suspicion, NO_SUSPICION)
    query = select(LabelAuditItem).where(LabelAuditItem.audit_id == audit_id)
    if pending:
        given = select(LabelAuditVerdict).where(
            LabelAuditVerdict.audit_id == audit_id, LabelAuditVerdict.number == LabelAuditItem.number
        )
        query = query.where(~given.exists())
    if after is not None:
        query = query.where(tuple_(doubt, LabelAuditItem.number) > after)
    return session.scalars(query.order_by(doubt, LabelAuditItem.number).limit(limit)).all()


def locked_item(session: Session, audit_id: UUID, number: int) -> LabelAuditItem | None:
    """Locks an item until the transaction ends, so that verdicts on it are stored one after another. Returns it."""
    query = select(LabelAuditItem).where(LabelAuditItem.audit_id == audit_id, LabelAuditItem.number == number)
    return session.scalars(query.with_for_update()).one_or_none()


def verdicts(session: Session, audit_id: UUID, numbers: Collection[int]) -> Sequence[LabelAuditVerdict]:
    """Returns the verdicts on these items, for each the oldest first."""
    query = select(LabelAuditVerdict).where(
        LabelAuditVerdict.audit_id == audit_id, is_any_of(LabelAuditVerdict.number, numbers)
    )
    return session.scalars(query.order_by(LabelAuditVerdict.number, LabelAuditVerdict.revision)).all()


def add_verdict(session: Session, values: dict[str, Any]) -> None:
    session.execute(insert(LabelAuditVerdict).values(**values))


def checkpoints_of(session: Session, project: str) -> set[UUID]:
    return set(session.scalars(select(CHECKPOINTS.c.id).where(CHECKPOINTS.c.project_id == project)))


def suspicions(session: Session, project: str, completion_ids: Collection[str]) -> dict[tuple[str, bool], float]:
    """Returns the suspicions by completion id and label."""
    query = select(LabelSuspicion.completion_id, LabelSuspicion.label, LabelSuspicion.suspicion).where(
        LabelSuspicion.project_id == project, is_any_of(LabelSuspicion.completion_id, completion_ids)
    )
    return {(completion_id, label): suspicion for completion_id, label, suspicion in session.execute(query)}


def put_suspicions(
    session: Session, project: str, checkpoint_id: UUID, rows: Iterable[tuple[str, bool, float]]
) -> None:
    """Stores suspicions. They replace those of an earlier checkpoint about the same completions."""
    ids, labels, values = [list(part) for part in zip(*rows, strict=True)] or [[], [], []]
    session.execute(
        _PUT_SUSPICIONS,
        {"project": project, "checkpoint": checkpoint_id, "ids": ids, "labels": labels, "values": values},
    )


#: Ids of completions that samples and suspicions have, in order; that of an edited text begins with its completion's.
_COMPLETIONS = text("""
    SELECT DISTINCT regexp_replace(completion_id, '#edit:[0-9a-f]{16}$', '') COLLATE "C" AS id FROM (
        SELECT completion_id FROM label_audit_items JOIN label_audits ON label_audits.id = audit_id
        WHERE project_id = :project AND completion_id <> ''
        UNION ALL
        SELECT completion_id FROM label_suspicions WHERE project_id = :project
    ) AS shown
    WHERE regexp_replace(completion_id, '#edit:[0-9a-f]{16}$', '') COLLATE "C" > :after ORDER BY id LIMIT :limit
""")


def completions(session: Session, project: str, after: str, limit: int) -> Sequence[str]:
    """Returns the first completions after this id that samples or suspicions have."""
    return session.scalars(_COMPLETIONS, {"project": project, "after": after, "limit": limit}).all()


#: The id of an edited text consists of the completion's id and a suffix.
_OF_COMPLETIONS = "regexp_replace(completion_id, '#edit:[0-9a-f]{16}$', '') = ANY(:ids)"

_ERASE_ITEMS = [
    text(f"""
    WITH erased AS (
        SELECT audit_id, number FROM label_audit_items JOIN label_audits ON label_audits.id = audit_id
        WHERE project_id = :project AND {_OF_COMPLETIONS})
    {statement}""")  # noqa: S608 - of constants alone
    for statement in (
        """UPDATE label_audit_verdicts SET note = '' FROM erased
           WHERE (label_audit_verdicts.audit_id, label_audit_verdicts.number) = (erased.audit_id, erased.number)""",
        """DELETE FROM label_audit_items USING erased
           WHERE (label_audit_items.audit_id, label_audit_items.number) = (erased.audit_id, erased.number)
             AND NOT EXISTS (SELECT FROM label_audit_verdicts given
                             WHERE (given.audit_id, given.number) = (erased.audit_id, erased.number))
           RETURNING 1""",
        """UPDATE label_audit_items SET completion_id = '', prompt = '""', completion = '' FROM erased
           WHERE (label_audit_items.audit_id, label_audit_items.number) = (erased.audit_id, erased.number)
           RETURNING 1""",
    )
]

_ERASE_SUSPICIONS = text(
    f"DELETE FROM label_suspicions WHERE project_id = :project AND {_OF_COMPLETIONS} RETURNING 1"  # noqa: S608 - constant
)


def erase_items(session: Session, project: str, completion_ids: Collection[str]) -> int:
    """Deletes items without a verdict, and blanks texts and notes of the others. Returns the number of items."""
    values = {"project": project, "ids": list(completion_ids)}
    notes, without_verdict, judged = _ERASE_ITEMS
    session.execute(notes, values)
    return sum(len(session.scalars(statement, values).all()) for statement in (without_verdict, judged))


def erase_suspicions(session: Session, project: str, completion_ids: Collection[str]) -> int:
    values = {"project": project, "ids": list(completion_ids)}
    return len(session.scalars(_ERASE_SUSPICIONS, values).all())
