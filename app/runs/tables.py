"""The tables of runs. A run's row is the job; its lease and epoch decide who may write to it."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    String,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column
from thumbwheel.wire import RunState, RunTransitionKind

from app.database import Base, Document, Id, Time
from app.runs import states


def _any_of(values: Iterable[StrEnum]) -> str:
    """Returns the values as the list of an SQL `IN`, in the given order."""
    return "(" + ", ".join(f"'{value}'" for value in values) + ")"


def _states_in(chosen: frozenset[RunState]) -> str:
    return _any_of(state for state in RunState if state in chosen)


ACTIVE = _states_in(states.ACTIVE)


class Run(Base):
    __tablename__ = "runs"

    id: Mapped[Id]
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String, comment="why it failed or was cancelled")
    trigger: Mapped[str] = mapped_column(String(500), comment="who or what asked for it, and why")
    configuration: Mapped[Document] = mapped_column(comment="the project's, as it was when the run was requested")
    recipe: Mapped[Document] = mapped_column(comment="resolved once the snapshot is known")
    suites: Mapped[list[Any]] = mapped_column(
        JSONB,
        default=list,
        server_default=text("'[]'"),
        comment="name, version and sha256 of each suite that its evaluation runs",
    )
    watermark: Mapped[int] = mapped_column(BigInteger, comment="last event that the snapshot may see")
    reference_checkpoint_id: Mapped[UUID] = mapped_column(ForeignKey("checkpoints.id"))
    snapshot_id: Mapped[UUID | None] = mapped_column(ForeignKey("snapshots.id"))
    checkpoint_id: Mapped[UUID | None] = mapped_column(ForeignKey("checkpoints.id"))
    created_at: Mapped[Time]
    started_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    lease_owner: Mapped[str | None] = mapped_column(String(200))
    lease_epoch: Mapped[int] = mapped_column(Integer, default=0, comment="rises with every claim: attempts so far")
    lease_expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    lost: Mapped[int] = mapped_column(Integer, default=0, comment="attempts whose worker or trainer died")
    rung_at: Mapped[Time] = mapped_column(comment="when workers were last asked to look at it")
    phase_done: Mapped[int] = mapped_column(Integer, default=0)
    phase_total: Mapped[int] = mapped_column(Integer, default=0)
    eta_seconds: Mapped[float | None] = mapped_column(Float)
    last_metrics: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    warnings: Mapped[list[Any]] = mapped_column(JSONB, default=list)
    dropped_rows: Mapped[list[Any]] = mapped_column(
        JSONB, default=list, server_default=text("'[]'"), comment="rows that it does not train on or score, by reason"
    )
    paused: Mapped[bool] = mapped_column(
        Boolean, default=False, server_default=false(), comment="no worker may have it until it is resumed"
    )
    waiting: Mapped[bool] = mapped_column(
        Boolean, default=False, server_default=false(), comment="queued behind the project's active run"
    )
    changes: Mapped[Document] = mapped_column(
        default=dict, server_default=text("'{}'"), comment="recipe fields that were asked for this run alone"
    )
    source_run_id: Mapped[UUID | None] = mapped_column(ForeignKey("runs.id"))
    source: Mapped[str | None] = mapped_column(String(16), comment="what this run is of `source_run_id`")
    said: Mapped[str | None] = mapped_column(String, comment="the last lines of a process that did not end well")
    held_up_since: Mapped[datetime | None] = mapped_column(
        DateTime(timezone=True), comment="when a full disk first stopped it where it is"
    )
    held_up_by: Mapped[str | None] = mapped_column(String, comment="which disk that is")
    next_attempt_at: Mapped[datetime | None] = mapped_column(
        DateTime(timezone=True), comment="no worker may have it before"
    )
    group_id: Mapped[UUID | None] = mapped_column(ForeignKey("comparisons.id"), comment="the job that it is a part of")
    group_position: Mapped[int | None] = mapped_column(Integer, comment="of its trial in the job, from 0")

    __table_args__ = (
        CheckConstraint("(group_id IS NULL) = (group_position IS NULL)", name="position_in_a_group"),
        CheckConstraint("source IN ('retry', 'reproduction')", name="source"),
        CheckConstraint("(source IS NULL) = (source_run_id IS NULL)", name="source_of_a_run"),
        # These constraints allow the combinations of state, flags and lease that `states.MEANINGS` lists.
        CheckConstraint(f"state IN {_any_of(RunState)}", name="state"),
        CheckConstraint("(lease_owner IS NULL) = (lease_expires_at IS NULL)", name="whole_lease"),
        CheckConstraint(
            f"lease_owner IS NULL OR state IN {_states_in(states.WORKING | {RunState.CANCELLING})}",
            name="held_is_claimed",
        ),
        CheckConstraint("state <> 'cancelling' OR lease_owner IS NOT NULL", name="cancelling_is_held"),
        CheckConstraint(
            f"NOT paused OR state IN {_states_in(states.WORKING | {RunState.QUEUED})}", name="paused_goes_on"
        ),
        CheckConstraint("NOT waiting OR state = 'queued'", name="waiting_is_queued"),
        Index(
            "ix_runs_one_active_per_project",
            "project_id",
            unique=True,
            postgresql_where=text(f"state IN {ACTIVE} AND NOT waiting"),
        ),
        # A trial gets one run, however often its job is looked at.
        Index(
            "ix_runs_one_per_trial",
            "group_id",
            "group_position",
            unique=True,
            postgresql_where=text("group_id IS NOT NULL"),
        ),
        Index("ix_runs_waiting", "project_id", "id", postgresql_where=text("waiting")),
        Index("ix_runs_project_id_created_at", "project_id", "created_at"),
    )


class ComparisonJob(Base):
    """A comparison of arms or a sweep. Its trials become runs one after another, on one snapshot and one reference."""

    __tablename__ = "comparisons"

    id: Mapped[Id]
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    kind: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String, comment="why it failed or was cancelled")
    by: Mapped[str] = mapped_column(String(200))
    note: Mapped[str | None] = mapped_column(String(500))
    request: Mapped[Document] = mapped_column(comment="what was requested")
    configuration: Mapped[Document] = mapped_column(comment="the project's, as it was when the job was requested")
    suites: Mapped[list[Any]] = mapped_column(JSONB, comment="as in runs, of every run")
    watermark: Mapped[int] = mapped_column(BigInteger, comment="last event that the snapshot may see")
    reference_checkpoint_id: Mapped[UUID] = mapped_column(ForeignKey("checkpoints.id"))
    snapshot_id: Mapped[UUID | None] = mapped_column(ForeignKey("snapshots.id"), comment="of every run")
    kl_budget: Mapped[float] = mapped_column(Float)
    arms: Mapped[list[Any]] = mapped_column(JSONB, comment="name, changes, recipe, budget; no recipe: untouched")
    trials: Mapped[list[Any]] = mapped_column(JSONB, comment="planned so far: arm, seed, rung, recipe; by position")
    result: Mapped[dict[str, Any] | None] = mapped_column(
        JSONB(none_as_null=True), comment="arms, differences, notices, recommendation; null until it has ended"
    )
    created_at: Mapped[Time]
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        CheckConstraint("kind IN ('comparison', 'sweep')", name="kind"),
        CheckConstraint("state IN ('running', 'succeeded', 'failed', 'cancelled')", name="state"),
        CheckConstraint("(state = 'running') = (finished_at IS NULL)", name="finished"),
        CheckConstraint("(state = 'running') = (result IS NULL)", name="result"),
        Index("ix_comparisons_running", "project_id", postgresql_where=text("state = 'running'")),
        Index("ix_comparisons_project_id_id", "project_id", "id"),
    )


class RunTransition(Base):
    """A row of the history of a run, with kind, actor, time and reason. Written in the transaction of the change."""

    __tablename__ = "run_transitions"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16), comment="what happened, for programs")
    from_state: Mapped[str | None] = mapped_column(String(16))
    to_state: Mapped[str] = mapped_column(String(16))
    attempt: Mapped[int | None] = mapped_column(Integer, comment="that it concerns; null before the first claim")
    at: Mapped[Time]
    by: Mapped[str] = mapped_column(String(200))
    reason: Mapped[str] = mapped_column(String, default="")

    __table_args__ = (
        CheckConstraint(f"kind IN {_any_of(RunTransitionKind)}", name="kind"),
        CheckConstraint("(from_state IS NULL) = (kind IN ('requested', 'waits'))", name="begins"),
        CheckConstraint(f"(to_state IN {_states_in(states.TERMINAL)}) = (kind IN ('ended', 'given_up'))", name="ends"),
        CheckConstraint("attempt > 0", name="attempt"),
        CheckConstraint("kind <> 'claimed' OR attempt IS NOT NULL", name="claimed_attempt"),
    )


#: The values of a run that no full disk holds up.
GOES_ON: dict[str, None] = {"held_up_since": None, "held_up_by": None, "next_attempt_at": None}

#: The next number of the sequence that transitions and metrics share. It orders the events of a run, because every
#: writer holds the row of the run.
NEXT_NUMBER = "nextval('run_transitions_id_seq')"
MEASURED_DRIFT = "(values ->> 'kl_nats_per_token') IS NOT NULL"


class RunMetric(Base):
    """The figures of an optimizer step. A step that is repeated after a kill replaces its row and gets a new number."""

    __tablename__ = "run_metrics"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    step: Mapped[int] = mapped_column(Integer, primary_key=True)
    values: Mapped[Document]
    number: Mapped[int] = mapped_column(
        BigInteger,
        server_default=text(NEXT_NUMBER),
        comment="by when it was written, of the same sequence as run_transitions",
    )

    __table_args__ = (
        Index("ix_run_metrics_number", "run_id", "number"),
        Index("ix_run_metrics_drift", "run_id", "step", postgresql_where=text(MEASURED_DRIFT)),
    )
