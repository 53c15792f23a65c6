"""Writes the history of runs: a row with its kind for each change, in the same transaction.

docs/commands-of-a-run.md has a table of the kinds. The caller holds the row of the run.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.access.operator_log import service as operator_log
from app.errors import Conflict
from app.runs import states
from app.runs.states import RunState, TransitionKind
from app.runs.tables import Run
from app.runs.transitions import store
from app.runs.transitions.webhook_types import public_reason, type_of
from app.webhooks import service as webhooks


def begin(session: Session, row: Run, kind: TransitionKind, by: str, reason: str) -> None:
    """Writes the first row of a run's history."""
    operator_log.note(session, run_id=row.id)
    _write(session, row, None, kind, by, reason)


def note(
    session: Session,
    row: Run,
    kind: TransitionKind,
    by: str,
    reason: str,
    *,
    before: str | None = None,
    attempt: int | None = None,
) -> None:
    """Writes a row of the history that concerns the current state of a run.

    before   the previous state of the run; None if it has not changed
    attempt  the number of the attempt that the row concerns; None for the newest one
    """
    _write(session, row, before or row.state, kind, by, reason, attempt)


def move(
    session: Session,
    row: Run,
    to: RunState,
    kind: TransitionKind,
    by: str,
    reason: str,
    values: Mapping[str, Any] | None = None,
) -> None:
    """Moves a run to state `to`, sets other columns to `values`, and writes the transition to the history.

    Raises `Conflict` if `to` may not follow the current state, or if another transaction has changed it.
    """
    before = RunState(row.state)
    states.require(before, to, held=row.lease_owner is not None)
    session.flush()
    if not store.move(session, row.id, before, to, dict(values or {})):
        raise Conflict(f"Run {row.id} is no longer {before}. Look at it again.", code="illegal_transition")
    session.refresh(row)
    _write(session, row, before, kind, by, reason)


def histories(session: Session, run_ids: Iterable[UUID]) -> dict[UUID, list[wire.RunTransition]]:
    """Returns the history of each run, oldest row first."""
    history_of: dict[UUID, list[wire.RunTransition]] = {run_id: [] for run_id in run_ids}
    for row in store.of_runs(session, history_of):
        history_of[row.run_id].append(wire.RunTransition.model_validate(row))
    return history_of


def _write(
    session: Session,
    row: Run,
    before: str | None,
    kind: TransitionKind,
    by: str,
    reason: str,
    attempt: int | None = None,
) -> None:
    values = {"kind": kind, "from_state": before, "to_state": row.state, "by": by, "reason": reason}
    number = attempt or row.lease_epoch or None
    store.add(session, {"run_id": row.id, "attempt": number, **values})
    webhook_type = type_of(kind, before, row.state)
    if webhook_type is not None:
        data = wire.RunWebhookData(
            project=row.project_id,
            url=webhooks.link(row.project_id, f"/v1/runs/{row.id}"),
            run_id=row.id,
            kind=kind,
            from_state=None if before is None else RunState(before),
            state=RunState(row.state),
            paused=row.paused,
            waiting=row.waiting,
            attempt=number,
            reason=public_reason(reason),
            checkpoint_id=row.checkpoint_id,
        )
        webhooks.publish(session, row.project_id, webhook_type, data)
