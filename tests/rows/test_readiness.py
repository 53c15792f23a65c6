"""Readiness of a large log: found out in the background, shown at once."""

from datetime import UTC, datetime, timedelta

import pytest
from thumbwheel import wire

from app.database import transaction
from app.errors import Refused
from app.labels import service as labels
from app.projects import service as projects
from app.runs import service as runs
from app.snapshots.readiness import service as readiness
from tests.logged import store
from tests.rows.desk import DESK, make_project, request, vote

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


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


def test_a_run_that_no_gate_would_pass_is_not_ready_and_says_how_many_labels_are_missing():
    make_project("small", gates={"minimum_holdout_per_class": 12, "minimum_holdout_prompts": 20})
    vote(60, project="small")

    with transaction() as session:
        found = runs.readiness(session, "small")

    assert not found.ready
    assert found.holdout is not None
    held_out = found.holdout
    assert 0 < held_out.desirable < 12
    assert held_out.prompts == held_out.desirable + held_out.undesirable
    missing = {refusal.of: (refusal.have, refusal.need, refusal.more) for refusal in found.refusals}
    assert missing["desirable"] == (held_out.desirable, 12, -(-(12 - held_out.desirable) * 10 // 3))
    assert "gates.minimum_holdout_per_class" in found.reasons[0]
    with pytest.raises(Refused, match="would be held out"):
        request("small")


def test_few_actors_and_votes_in_quarantine_are_said_and_stop_nothing():
    thumbs = [
        {
            "completion_id": f"c{number}",
            "actor": "bot" if number < 70 else f"user {number % 3}",
            "signal": {"kind": "thumbs", "value": ("up", "down")[number // 2 % 2]},
            "prompt": f"Question {number}?",
            "completion": f"Answer {number}.",
            "occurred_at": (NOON + timedelta(minutes=max(0, number - 70))).isoformat(),
        }
        for number in range(170)
    ]
    make_project("few")
    store("few", thumbs)

    with transaction() as session:
        found = runs.readiness(session, "few")

    assert found.ready
    assert found.quarantine == wire.QuarantineForecast(actors=1, votes=70, reasons={"quarantined_burst": 1})
    actors, waiting = found.notices
    assert actors == "all training rows are the judgement of 3 actors: collect feedback of more people"
    assert waiting.startswith("70 votes of 1 actor do not count, in quarantine (quarantined_burst 1): see them with")
