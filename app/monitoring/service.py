"""Measures the time to learn: the age of an event when a checkpoint that learnt from it ships.

A checkpoint has learnt from the log up to the watermark of its snapshot. Of the events up to there, those that no
earlier release had reached become live with its release; held-out and unlabelled events count, too. The loop measures
each release once and counts the events that wait, so that no request reads the log.
"""

from datetime import datetime, timedelta
from time import perf_counter

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.database import now
from app.feedback import service as feedback
from app.monitoring import store
from app.monitoring.ages import WINDOW_DAYS, Ages, attainment
from app.projects import service as projects

#: Waiting events are counted at most in this share of the time.
PART = 0.02
#: The releases in a response.
SHOWN = 50
#: The releases from which an objective is judged, at most.
JUDGED = 1000


def measure(session: Session, project: str) -> bool:
    """Stores the ages of the events of which the next shipped release was the first to learn. Returns whether there was
    such a release.
    """
    number, position = store.reached(session, project)
    release = store.next_release(session, project, number)
    if release is None:
        return False
    events, ages = store.ages(session, project, position, release.watermark, release.created_at)
    store.add(
        session,
        {
            "release_id": release.id,
            "project_id": project,
            "release_number": release.number,
            "checkpoint_id": release.checkpoint_id,
            "released_at": release.created_at,
            "watermark": release.watermark,
            "events": events,
            "ages": ages,
        },
    )
    return True


def count_waiting(session: Session, project: str) -> None:
    """Counts the events that no release has learnt from yet, unless they are the same as before or were counted just
    now.
    """
    before, at = store.waiting(session, project), now()
    _, after = store.reached(session, project)
    watermark = feedback.watermark(session, project)
    if before is not None:
        resting = timedelta(seconds=before.seconds / PART)
        if (after, watermark) == (before.after, before.watermark) or at - before.read_at < resting:
            return
    began = perf_counter()
    events, ages = store.ages(session, project, after, watermark, at)
    store.put_waiting(
        session,
        project,
        {
            "after": after,
            "watermark": watermark,
            "events": events,
            "ages": ages,
            "read_at": at,
            "seconds": perf_counter() - began,
        },
    )


def time_to_learn(session: Session, project: str) -> wire.TimeToLearn:
    """Returns the ages at which events became live, and how well the objective is kept. Raises `NotFound`."""
    rules, at = projects.get(session, project).monitoring, now()
    rows, waiting = store.newest_first(session, project, JUDGED), store.waiting(session, project)
    learned = [Ages(row.released_at, row.events, row.ages) for row in rows]
    aged = None if waiting is None else Ages(waiting.read_at, waiting.events, waiting.ages)
    return wire.TimeToLearn(
        project=project,
        releases=[
            wire.LearnedRelease(
                release_number=row.release_number,
                checkpoint_id=row.checkpoint_id,
                released_at=row.released_at,
                events=row.events,
                p50_seconds=ages.quantile(0.5),
                p90_seconds=ages.quantile(0.9),
            )
            for row, ages in zip(rows[:SHOWN], learned, strict=False)
        ],
        waiting=aged
        and wire.WaitingEvents(
            events=aged.events,
            p50_seconds=aged.quantile(0.5, at),
            oldest_seconds=aged.quantile(1.0, at),
            counted_at=aged.at,
        ),
        objective=_report(rules, learned, aged, at),
    )


def _report(
    rules: wire.MonitoringRules, learned: list[Ages], waiting: Ages | None, at: datetime
) -> wire.ObjectiveReport | None:
    if rules.live_share is None or rules.live_hours is None:
        return None
    found = attainment(learned, waiting, rules.live_share, rules.live_hours, at)
    return wire.ObjectiveReport(
        share=rules.live_share,
        hours=rules.live_hours,
        days=WINDOW_DAYS,
        due=found.due,
        in_time=found.in_time,
        burn=found.burn,
    )
