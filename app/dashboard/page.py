"""Gathers the status page of one project in one transaction, and formats its times and numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from markupsafe import Markup
from sqlalchemy.orm import Session
from thumbwheel import wire

from app.checkpoints import service as checkpoints
from app.dashboard import plots
from app.dashboard.cache import Remembered
from app.database import now
from app.errors import Unavailable
from app.feedback.import_jobs import service as imports
from app.labels.summaries import service as summaries
from app.loop import service as loop
from app.monitoring import report
from app.monitoring import service as monitoring
from app.privacy.retention import service as retention
from app.projects import service as projects
from app.readiness.service import PENDING
from app.releases import service as releases
from app.runs import service as runs
from app.runs.states import TERMINAL

SHOWN = 10
IMPORTS_SHOWN = 3
PLOTTED_STEPS = 300
#: Plots that are omitted without figures: not every objective has a reference point, and drift is measured rarely.
OPTIONAL = {"z0", "drift"}


@dataclass(frozen=True)
class View:
    project: wire.Project
    current: wire.CurrentRelease
    readiness: wire.Readiness | None  # None while it is being computed
    runs: Sequence[wire.Run]
    active: wire.Run | None
    plotted: wire.Run | None
    plots: Mapping[str, Markup]
    checkpoints: Sequence[wire.Checkpoint]
    approvals: Mapping[UUID, wire.Approval]
    decisions: Sequence[wire.TriggerDecision]
    releases: Sequence[wire.Release]
    time_to_learn: wire.TimeToLearn
    learned: Mapping[int, wire.LearnedRelease]  # by number of the release
    approved: Mapping[int, wire.ReleaseApproval]  # by number of the release
    rollback: wire.RollbackState | None
    imports: Sequence[wire.Import]
    retention: wire.Retention


def view_of(session: Session, project: str, readiness: Remembered[wire.Readiness]) -> View:
    """Returns the contents of a project's page. Raises `NotFound` for an unknown project."""
    newest = runs.page(session, project, cursor=None, limit=SHOWN).items
    plotted = next((run for run in newest if run.last_metrics), None)
    learning = monitoring.time_to_learn(session, project)
    approved = report.release_approvals(session, project)
    return View(
        project=projects.get(session, project),
        current=releases.current(session, project),
        readiness=_unless_pending(readiness, session, project),
        runs=newest,
        active=next((run for run in newest if run.state not in TERMINAL), None),
        plotted=plotted,
        plots=curves(runs.metrics(session, project, plotted.id, limit=PLOTTED_STEPS).steps) if plotted else {},
        checkpoints=checkpoints.page(session, project, cursor=None, limit=SHOWN).items,
        approvals=summaries.stored_approvals(session, project),
        decisions=loop.decisions(session, project, cursor=None, limit=SHOWN).items,
        releases=releases.page(session, project, cursor=None, limit=SHOWN).items,
        time_to_learn=learning,
        learned={release.release_number: release for release in learning.releases},
        approved={release.release_number: release for release in approved.releases},
        rollback=approved.rollback,
        imports=imports.page(session, project, cursor=None, limit=IMPORTS_SHOWN).items,
        retention=retention.get(session, project),
    )


def _unless_pending(readiness: Remembered[wire.Readiness], session: Session, project: str) -> wire.Readiness | None:
    try:
        return readiness(session, project)
    except Unavailable as error:
        if error.code != PENDING:
            raise
        return None


def curves(steps: Sequence[Mapping[str, Any]]) -> dict[str, Markup]:
    """Returns the plots of a run by name, in the order of the page."""
    series = {
        "loss": ("Loss", {"desirable": "loss_desirable", "undesirable": "loss_undesirable", "all": "loss"}),
        "rewards": ("Reward β·r", {"desirable": "reward_desirable", "undesirable": "reward_undesirable"}),
        "z0": ("Reference point z0, nats", {"z0": "z0"}),
        "drift": ("Drift from the reference, nats per token", {"KL": "kl_nats_per_token"}),
    }
    points = {
        key: {name: plots.points_of(steps, metric) for name, metric in metrics.items()}
        for key, (_, metrics) in series.items()
    }
    return {
        key: plots.lines(title, points[key])
        for key, (title, _) in series.items()
        if any(points[key].values()) or key not in OPTIONAL
    }


def short(identity: UUID | str) -> str:
    """Returns the end of an id: the beginning of a UUIDv7 is the time, which ids of about the same time share."""
    return str(identity)[-8:]


def when(time: datetime) -> str:
    """Returns the time as its age, such as "5 min ago", or as a date if it is more than a day ago."""
    seconds = (now() - time).total_seconds()
    return f"{duration(max(seconds, 0))} ago" if seconds < 86_400 else f"{time:%Y-%m-%d %H:%M} UTC"


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def took(run: wire.Run) -> str:
    if run.started_at is None:
        return ""
    return duration(((run.finished_at or now()) - run.started_at).total_seconds())


def interval(figure: Mapping[str, float | None] | None) -> str:
    """Returns a figure with its interval, or a dash without one."""
    if not figure or figure.get("value") is None:
        return "–"
    if figure.get("low") is None or figure.get("high") is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"
