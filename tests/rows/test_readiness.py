"""Readiness of a large log: found out in the background, shown at once."""

import pytest
from thumbwheel import wire

from app.database import transaction
from app.labels import service as labels
from app.projects import service as projects
from app.runs import service as runs
from app.snapshots.readiness import service as readiness
from tests.rows.desk import DESK, make_project, request, vote


@pytest.fixture(autouse=True)
def _project(database, monkeypatch):
    make_project()
    monkeypatch.setattr(labels, "SMALL", 10)
    monkeypatch.setattr(readiness, "PART", 1e9)  # looked at as often as it is asked


def ready() -> wire.Readiness:
    with transaction() as session:
        return runs.readiness(session, DESK)


def look_ahead() -> bool:
    with transaction() as session:
        return runs.look_ahead(session, DESK)


def test_what_was_found_is_shown_until_the_log_is_looked_at_again():
    vote(30)
    first = ready()
    vote(30, start=30)

    assert ready() == first
    assert look_ahead()
    assert ready().counts.desirable == 2 * first.counts.desirable
    assert ready().watermark > first.watermark
    assert not look_ahead()


def test_another_policy_or_rule_is_never_answered_with_what_was_found_before():
    vote(30)
    first = ready()
    with transaction() as session:
        projects.change(session, DESK, wire.ProjectChange(snapshot=wire.SnapshotRules(holdout_share=0.5)))

    assert ready().plan != first.plan


def test_a_run_is_not_refused_for_what_the_log_lacked_before():
    vote(12)
    assert not ready().ready
    vote(60, start=12)

    assert not ready().ready
    assert request().state == "queued"
