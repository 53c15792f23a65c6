"""Readiness of a large log is computed in the background and shown immediately."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from thumbwheel import wire

from app.database import transaction
from app.errors import Refused, Unavailable
from app.labels import service as labels
from app.projects import service as projects
from app.readiness import service as readiness
from app.runs import service as runs
from tests.desk import DESK, claim, make_project, request, snapshot, vote
from tests.logged import store

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _project(database, monkeypatch):
    make_project()
    monkeypatch.setattr(labels, "SMALL", 10)
    monkeypatch.setattr(readiness, "PART", 1e9)  # computed for every request


def ready() -> wire.Readiness:
    with transaction() as session:
        return runs.readiness(session, DESK)


def look_ahead(project: str = DESK) -> bool:
    with transaction() as session:
        return runs.look_ahead(session, project)


def test_no_request_reads_a_large_log():
    vote(30)
    for question in (ready, request):
        with pytest.raises(Unavailable) as pending:
            question()
        assert pending.value.code == "readiness_pending"

    assert look_ahead()
    assert ready().counts.desirable


def test_what_was_found_is_shown_until_the_log_is_looked_at_again():
    vote(30)
    look_ahead()
    first = ready()
    vote(30, start=30)

    assert ready() == first
    assert look_ahead()
    assert ready().counts.desirable == 2 * first.counts.desirable
    assert ready().watermark > first.watermark
    assert not look_ahead()


def test_another_policy_or_rule_is_never_answered_with_what_was_found_before():
    vote(30)
    look_ahead()
    first = ready()
    with transaction() as session:
        projects.change(session, DESK, wire.ProjectChange(snapshot=wire.SnapshotRules(holdout_share=0.5)))

    with pytest.raises(Unavailable):
        ready()
    assert look_ahead()
    assert ready().plan != first.plan


def test_a_run_is_not_refused_for_what_the_log_lacked_before():
    vote(12)
    look_ahead()
    assert not ready().ready
    with pytest.raises(Refused):
        request()
    vote(60, start=12)

    assert not ready().ready
    assert request().state == "queued"


def test_a_run_of_a_log_that_has_grown_too_little_is_refused_by_the_worker(tmp_path):
    make_project("grown", snapshot={"minimum_per_class": 500})
    vote(30, project="grown")
    look_ahead("grown")
    vote(2, start=30, project="grown")

    claimed = claim(request("grown").id)

    with pytest.raises(Refused, match="500 are needed"):
        snapshot(claimed, tmp_path)


def test_too_small_a_holdout_for_the_gates_stops_no_run_and_says_how_many_labels_are_missing():
    make_project("small", gates="standard")
    vote(60, project="small")
    look_ahead("small")

    with transaction() as session:
        found = runs.readiness(session, "small")

    assert found.ready
    assert found.reasons == []
    assert found.holdout is not None
    held_out = found.holdout
    assert 0 < held_out.desirable < 30
    rows = held_out.desirable + held_out.undesirable
    assert held_out.prompts == rows
    assert found.undecided[0] == (
        f"{rows} rows would be held out, and gates standard need 100 (minimum.rows), so the verdict would be "
        f"undecided: about {-(-(100 - rows) * 10 // 3)} more labels, or a larger snapshot.holdout_share"
    )
    assert len(found.undecided) == 4
    assert found.notices[:4] == found.undecided
    assert request("small").state == "queued"


def test_rows_that_other_models_wrote_are_noticed_in_a_large_log_too():
    store(DESK, [
        wire.Event(
            completion_id=f"c{number}", actor=f"user {number}", prompt=f"Question {number}?",
            completion=f"Answer {number}.", signal=wire.Thumbs(value=("up", "down")[number % 2]),
            checkpoint_id=UUID(int=1 + number % 3),
        )
        for number in range(60)
    ])  # fmt: skip
    look_ahead()

    found = ready()

    assert found.writers is not None
    assert found.writers.others.share_of_rows == 1
    assert found.writers.age_days.without_time == 0
    [notice] = [line for line in found.notices if "live" in line]
    assert notice.startswith("only 0% of the training weight was written by the checkpoint that is live, 100% by other")
    assert "collect more feedback on this one" in notice


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
    look_ahead("few")

    with transaction() as session:
        found = runs.readiness(session, "few")

    assert found.ready
    assert found.quarantine == wire.QuarantineForecast(actors=1, votes=70, reasons={"quarantined_burst": 1})
    actors, waiting = found.notices
    assert actors == "all training rows are the judgement of 3 actors: collect feedback of more people"
    assert waiting.startswith("70 votes of 1 actor do not count, in quarantine (quarantined_burst 1): see them with")
