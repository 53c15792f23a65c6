"""The approval of each release, as the loop measures it: by segment, weighted by outputs, canary against live."""

from functools import partial

import pytest
from thumbwheel import wire

from app.database import transaction
from app.labels import resolving
from app.labels.summaries import service as summaries
from app.loop import service as loop
from app.monitoring import report
from app.projects import service as projects
from app.releases import service as releases
from tests.desk import DESK, checkpoint, execute, make_project, vote
from tests.logged import register, store

KEY = "country"


@pytest.fixture(autouse=True)
def _project(database):
    make_project()
    vote()
    with transaction() as session:
        projects.change(session, DESK, wire.ProjectChange(monitoring=wire.MonitoringRules(segments=[KEY])))


def ship(checkpoint_id=None, **how):
    with transaction() as session:
        return releases.ship(session, DESK, wire.NewRelease(checkpoint_id=checkpoint_id, **how), "key test")


def outputs(name, count, checkpoint_id, country=None):
    """Registers completions of a checkpoint."""
    extra = {} if country is None else {KEY: country}
    for number in range(count):
        text = {"prompt": "Question?", "completion": f"Answer {number}."}
        register(DESK, f"{name}-{number}", {**text, "checkpoint_id": str(checkpoint_id), "metadata": extra})


def judge(name, up, down, checkpoint_id=None, actor=None, **metadata):
    """Stores votes, each of another actor if none is given, on completions of this name."""
    values = ["up"] * up + ["down"] * down
    store(
        DESK,
        [
            wire.Event(
                event_id=f"{name}-{number}",
                completion_id=f"{name}-{number}",
                actor=actor or f"{name} {number}",
                checkpoint_id=checkpoint_id,
                signal=wire.Thumbs(value=value),
                metadata=metadata,
            )
            for number, value in enumerate(values)
        ],
    )


def measured():
    execute("UPDATE log_summaries SET read_at = read_at - interval '1 hour'")  # the loop rests after a reading
    loop.tick()
    with transaction(read_only=True) as session:
        return report.release_approvals(session, DESK)


def test_votes_count_for_the_release_that_was_in_force_when_they_were_given(tmp_path):
    made = checkpoint(tmp_path)
    number = ship(made).number
    judge("shipped", 3, 1, made)
    [newest, *_] = measured().releases
    assert (newest.release_number, newest.desirable, newest.undesirable) == (2, 3, 1)

    ship(rollback=True)
    judge("late", 0, 2, made)
    found = {each.release_number: each for each in measured().releases}

    assert (found[number].desirable, found[number].undesirable) == (3, 1)
    assert found[number].approval == 0.75
    assert found[number].reasons == {"thumbs_up": 3, "thumbs_down": 1}
    assert [(each.action, each.until is None) for each in found.values()] == [
        ("rollback", True), ("ship", False), ("start", False),
    ]  # fmt: skip
    assert found[3].approval is None
    assert found[number].exposures is None
    assert found[number].voted_share is None


def test_approval_is_weighted_by_the_outputs_of_each_segment_rather_than_by_its_votes(tmp_path, monkeypatch):
    monkeypatch.setattr(summaries, "resolved", partial(resolving.resolved, part=10))  # read in several parts
    made = checkpoint(tmp_path)
    ship(made)
    outputs("at", 90, made, "AT")
    outputs("de", 10, made, "DE")
    outputs("silent", 20, made)
    judge("at", 8, 2)  # the completions' own metadata count
    judge("de", 0, 10)
    judge("unregistered", 5, 5, made, **{KEY: "DE"})
    judge("unknown", 1, 0, made)

    [found, *_] = measured().releases

    assert (found.exposures, found.voted_share, found.desirable, found.undesirable) == (120, 20 / 120, 14, 17)
    [by] = found.segments
    assert [(each.value, each.desirable, each.undesirable, each.exposures) for each in by.segments] == [
        ("DE", 5, 15, 10), ("AT", 8, 2, 90), (None, 1, 0, 20),
    ]  # fmt: skip
    assert by.exposure_weighted.approval == pytest.approx((90 * 0.8 + 10 * 0.25 + 20 * 1) / 120)
    assert by.exposure_weighted.covered == 1
    assert by.exposure_weighted.low < by.exposure_weighted.approval < by.exposure_weighted.high


def test_values_beyond_the_most_frequent_are_one_segment(tmp_path, monkeypatch):
    monkeypatch.setattr("app.monitoring.approval.service.VALUES", 2)
    made = checkpoint(tmp_path)
    ship(made)
    for value, count in [("a", 4), ("b", 3), ("c", 2), ("d", 1)]:
        judge(value, count, 0, made, **{KEY: value})
        outputs(f"more {value}", count, made, value)

    [by] = measured().releases[0].segments

    assert [(each.value, each.rest, each.desirable, each.exposures) for each in by.segments] == [
        ("a", False, 4, 4), ("b", False, 3, 3), (None, True, 3, 3),
    ]  # fmt: skip


def test_a_canary_is_compared_with_the_votes_on_the_live_release_since_it_began_one_value_for_each_actor(tmp_path):
    live, tried = checkpoint(tmp_path / "live"), checkpoint(tmp_path / "tried")
    ship(live)
    judge("earlier", 50, 0, live)
    number = ship(tried, share=0.5).number
    judge("good", 60, 20, live)
    judge("bad", 20, 60, tried)
    judge("one", 0, 20, tried, actor="one person")
    ship(tried, share=0.6)  # the same canary goes on

    found = {each.release_number: each for each in measured().releases}
    compared = found[number].comparison

    assert (compared.kind, compared.other.release_number) == ("canary", 2)
    assert (compared.release.votes, compared.release.actors) == (100, 81)
    assert (compared.other.votes, compared.other.actors, compared.other.approval) == (80, 80, 0.75)
    assert compared.release.approval == pytest.approx(20 / 81)
    assert compared.low < compared.difference < compared.high < 0
    assert found[number].drift.total_variation > found[number].drift.noise
    assert set(found) == {1, 2, 3}


def test_nothing_is_shown_that_an_earlier_policy_or_an_erasure_left(tmp_path):
    ship(checkpoint(tmp_path))
    assert measured().read_at is not None
    execute("UPDATE projects SET erasures = erasures + 1")

    with transaction(read_only=True) as session:
        found = report.release_approvals(session, DESK)

    assert (found.read_at, found.releases) == (None, [])
