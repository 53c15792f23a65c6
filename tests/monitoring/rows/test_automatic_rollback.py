"""Automatic rollback in the loop: what it writes into the ledger, and that it does so once."""

import pytest
from thumbwheel import wire

from app import artifacts
from app.database import transaction
from app.loop import service as loop
from app.monitoring.rollback import service as rollback
from app.projects import service as projects
from app.releases import service as releases
from tests.desk import DESK, checkpoint, execute, make_project, vote
from tests.monitoring.rows.test_release_approval import judge, ship

RULES = wire.RollbackRules(minimum_labels=50, margin=0.05, grace_hours=0)


@pytest.fixture(autouse=True)
def _project(database):
    make_project()
    vote()


def watch(rules=RULES):
    with transaction() as session:
        projects.change(session, DESK, wire.ProjectChange(monitoring=wire.MonitoringRules(rollback=rules)))


def tick():
    execute("UPDATE log_summaries SET read_at = read_at - interval '1 hour'")  # the loop rests after a reading
    loop.tick()


def ledger():
    with transaction() as session:
        return releases.ledger(session, DESK, 100)


def state():
    with transaction(read_only=True) as session:
        return rollback.state(session, DESK)


def test_a_worse_canary_ends_once_and_the_ledger_says_why(tmp_path):
    live, tried = checkpoint(tmp_path / "live"), checkpoint(tmp_path / "tried")
    ship(live)
    ship(tried, share=0.5)
    judge("good", 200, 20, live)
    judge("bad", 20, 200, tried)
    tick()
    assert [entry.action for entry in ledger()] == ["start", "ship", "canary"]  # no policy, no decision

    watch()
    tick()

    newest = ledger()[-1]
    assert (newest.number, newest.action, newest.by, newest.checkpoint_id) == (4, "end_canary", "monitoring", tried)
    assert newest.reason == newest.decision.reason
    figures = newest.decision.figures
    assert figures.policy == RULES
    assert (figures.comparison.release.actors, figures.comparison.other.actors) == (220, 220)
    assert figures.comparison.high < -RULES.margin
    for _ in range(3):
        tick()
    assert len(ledger()) == 4
    assert state().decision.reason.startswith("release 4 was automatic")


def test_a_worse_release_gives_way_to_the_one_before_and_that_stays(tmp_path):
    watch()
    first, second = checkpoint(tmp_path / "first"), checkpoint(tmp_path / "second")
    ship(first)
    judge("good", 200, 20, first)
    ship(second)
    judge("bad", 20, 200, second)

    tick()
    judge("after", 0, 300, first)
    tick()

    assert [(entry.action, entry.checkpoint_id, entry.by) for entry in ledger()][-1] == (
        "rollback", first, "monitoring",
    )  # fmt: skip
    assert len(ledger()) == 4


def test_a_rollback_to_damaged_weights_is_said_and_tried_again(tmp_path, monkeypatch):
    watch()
    first, second = checkpoint(tmp_path / "first"), checkpoint(tmp_path / "second")
    ship(first)
    judge("good", 200, 20, first)
    ship(second)
    judge("bad", 20, 200, second)
    with monkeypatch.context() as damaged:
        damaged.setattr(artifacts, "verify", lambda sha256: _raise(artifacts.DamagedArtifact(sha256, code="damaged")))
        tick()
    failed = state()
    assert len(ledger()) == 3
    assert (failed.decision.action, "cannot ship" in failed.failure) == ("roll_back", True)

    tick()

    assert ledger()[-1].action == "rollback"
    assert state().failure is None


def test_a_policy_that_is_switched_off_while_the_weights_are_verified_decides_nothing(tmp_path, monkeypatch):
    watch()
    first, second = checkpoint(tmp_path / "first"), checkpoint(tmp_path / "second")
    ship(first)
    judge("good", 200, 20, first)
    ship(second)
    judge("bad", 20, 200, second)
    verify = artifacts.verify
    monkeypatch.setattr(artifacts, "verify", lambda sha256: (watch(None), verify(sha256)))

    tick()

    assert len(ledger()) == 3


def _raise(error):
    raise error
