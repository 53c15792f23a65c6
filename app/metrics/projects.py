"""Reads the figures of all projects from Postgres. No log is read: the loop has stored what it knows of each."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session
from thumbwheel import wire

from app import outbox
from app.feedback.import_jobs import service as imports
from app.labels.summaries import service as summaries
from app.loop import service as loop
from app.monitoring import service as monitoring
from app.monitoring.approval import service as approval
from app.privacy.holds import service as holds
from app.privacy.retention import service as retention
from app.projects import service as projects
from app.readiness import service as readiness
from app.releases import service as releases
from app.runs.backlog import service as runs
from app.runs.states import RunState
from app.serving import service as serving
from app.webhooks.deliveries import service as webhooks


@dataclass(frozen=True)
class ProjectFigures:
    """The figures of the projects that are not archived, by id.

    releases  the live one and the canary beside it
    runs      by project and state
    queued    when the oldest queued run was requested, by project and whether it waits behind an active one
    labels    by project: those that there are, and the new ones
    holds     legal holds in force, by project
    """

    learning: dict[str, wire.TimeToLearn]
    approvals: dict[str, wire.ReleaseApprovals]
    releases: dict[str, tuple[wire.Release, wire.Release | None]]
    runs: dict[tuple[str, RunState], int]
    queued: dict[tuple[str, bool], datetime]
    labels: dict[str, tuple[wire.ClassCounts, wire.ClassCounts]]
    undecided: dict[str, int]
    holds: dict[str, int]
    retentions: dict[str, retention.Progress]
    targets: list[wire.ServingTarget]
    backlogs: list[webhooks.Backlog]
    imports: dict[tuple[str, str], int]
    outbox: tuple[int | None, datetime | None]
    last_tick: datetime | None


NOTHING = ProjectFigures({}, {}, {}, {}, {}, {}, {}, {}, {}, [], [], {}, (None, None), None)


def read(session: Session) -> ProjectFigures:
    """Reads the figures of all projects that are not archived."""
    ids = projects.ids(session)
    undecided = summaries.undecided(session)
    live, counts, queued = releases.current_of_all(session), runs.counts(session), runs.queued_since(session)
    labels = readiness.stored_counts(session)
    held, expiry = holds.of_all_projects(session), retention.progress(session)
    return ProjectFigures(
        learning={project: monitoring.time_to_learn(session, project) for project in ids},
        approvals={project: approval.approvals(session, project) for project in ids},
        releases={project: live[project] for project in ids},
        runs={(project, state): counts.get((project, state), 0) for project in ids for state in RunState},
        queued={key: at for key, at in queued.items() if key[0] in ids},
        labels={project: labels[project] for project in ids if project in labels},
        undecided={project: undecided.get(project, 0) for project in ids},
        holds={project: held.get(project, 0) for project in ids},
        retentions={project: expiry[project] for project in ids if project in expiry},
        targets=[target for target in serving.enabled_targets(session) if target.project in ids],
        backlogs=[backlog for backlog in webhooks.backlogs(session) if backlog.project in ids],
        imports={key: number for key, number in imports.unfinished(session).items() if key[0] in ids},
        outbox=outbox.waiting(session),
        last_tick=loop.last_tick(session),
    )
