"""Shows what a rule of retention would delete now. It reads counts up to a bound, and no log."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.feedback.expiry import service as expiry
from app.privacy.holds import service as holds
from app.privacy.retention.expired_snapshots import is_in_use
from app.projects import service as projects
from app.snapshots.redactions import service as redactions


def preview(session: Session, project: str, rules: wire.RetentionRules) -> wire.RetentionPreview:
    """Returns what the rule would delete of a project. Raises `NotFound`."""
    projects.get(session, project)
    in_force = holds.look(session, project)
    if rules.months is None:
        return _preview(project, rules, in_force)
    before = expiry.keeps_from(rules.months)
    held = in_force.held(session)
    months = [
        wire.PreviewedMonth(
            month=month.name,
            events=expiry.count(session, project, month),
            droppable=expiry.has_partition(session, month)
            and expiry.projects_in(session, month) == [project]
            and not in_force.whole
            and not expiry.is_touched(session, project, month, held),
        )
        for month in expiry.months_with(session, project, before)
    ]
    searched = _searched(session, project, rules, before)
    return _preview(
        project,
        rules,
        in_force,
        before,
        months,
        completions=expiry.count_old_completions(session, project, before),
        searched=searched,
        in_use=[snapshot_id for snapshot_id in searched if is_in_use(session, project, snapshot_id)],
    )


def _searched(session: Session, project: str, rules: wire.RetentionRules, before: datetime) -> list[UUID]:
    """Returns the snapshots that retention would look into: with `keep`, those that are old themselves."""
    listed = redactions.live(session, project)
    return [each for each, created_at in listed if rules.snapshots == "redact" or created_at < before]


def _preview(
    project: str,
    rules: wire.RetentionRules,
    in_force: holds.HoldsInForce,
    before: datetime | None = None,
    months: list[wire.PreviewedMonth] | None = None,
    *,
    completions: int = 0,
    searched: list[UUID] | None = None,
    in_use: list[UUID] | None = None,
) -> wire.RetentionPreview:
    return wire.RetentionPreview(
        project=project,
        rules=rules,
        keeps_from=before,
        months=months or [],
        events=sum(month.events for month in months or []),
        completions=completions,
        snapshots_searched=searched or [],
        snapshots_in_use=in_use or [],
        held=in_force.ids,
        held_whole=bool(in_force.whole),
    )
