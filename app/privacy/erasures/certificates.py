"""Builds certificates of erasures: the erased rows, affected snapshots and checkpoints, and vacuumed tables."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.privacy.erasures.actor_forms import are_kept_away, digests_of
from app.privacy.erasures.failures import REMEDY
from app.privacy.erasures.tables import Erasure
from app.privacy.lineage import service as lineage
from app.privacy.vacuums import service as vacuums
from app.privacy.vacuums.tables import ErasedTable


def certify(row: Erasure, more: Mapping[str, Any]) -> None:
    """Adds entries to the certificate."""
    row.certificate = {**row.certificate, **more}


def count(row: Erasure, **more: int) -> None:
    """Adds to the counts of the certificate."""
    certify(row, {name: row.certificate.get(name, 0) + number for name, number in more.items()})


def erasure_of(session: Session, row: Erasure, event_ids: Sequence[str] | None) -> wire.Erasure:
    """Returns an erasure for callers, with its certificate if ids of erased events are given."""
    tables = vacuums.tables_of(session, row.id) if row.state == "done" else []
    return wire.Erasure(
        id=row.id,
        project=row.project_id,
        actor_sha256=row.actor_sha256.hex(),
        hashed_for=row.hashed_for or row.project_id,
        pseudonym_sha256=row.pseudonym_sha256 and row.pseudonym_sha256.hex(),
        state=row.state,
        requested_at=row.requested_at,
        requested_by=row.requested_by,
        started_at=row.started_at,
        finished_at=row.finished_at,
        trouble=row.trouble,
        held=row.certificate.get("held", []),
        remedy=REMEDY if row.state == "failed" else None,
        vacuumed_at=_last([table.vacuumed_at for table in tables]),
        tombstone=are_kept_away(session, row.project_id, digests_of(row)),
        lifted_at=row.lifted_at,
        lifted_by=row.lifted_by,
        certificate=None if event_ids is None else _certificate(session, row, event_ids, tables),
    )


def _certificate(
    session: Session, row: Erasure, event_ids: Sequence[str], tables: Sequence[ErasedTable]
) -> wire.Certificate:
    """Returns the certificate of the row, with the checkpoints and runs that the snapshots have by now."""
    snapshots = row.certificate.get("snapshots", [])
    of = lineage.with_predecessors(session, [UUID(each["snapshot_id"]) for each in snapshots])
    return wire.Certificate.model_validate(
        {
            **row.certificate,
            "event_ids": event_ids,
            "snapshots": snapshots,
            "checkpoints": lineage.checkpoints_of(session, row.project_id, of),
            "runs": lineage.runs_on(session, row.project_id, of, active=True),
            "tables": [
                wire.ErasedTable(table=table.table_name, vacuumed_at=table.vacuumed_at, rewritten=table.rewritten)
                for table in tables
            ],
        }
    )


def _last(times: Sequence[datetime | None]) -> datetime | None:
    """Returns the latest of the times, None if there are none or one is missing."""
    return None if not times or None in times else max(time for time in times if time is not None)
