"""The time to learn: events age until a checkpoint that learnt from them ships."""

import pytest
from thumbwheel import wire

from app.database import transaction
from app.loop import service as loop
from app.monitoring import service as monitoring
from app.projects import service as projects
from app.releases import service as releases
from tests.desk import DESK, checkpoint, execute, make_project, vote

HOURS = 3600.0


@pytest.fixture(autouse=True)
def _project(database):
    make_project()
    vote()


def age(hours):
    """Makes all events of the log this many hours older."""
    execute("UPDATE events SET received_at = received_at - make_interval(hours => :hours)", hours=hours)


def ship(checkpoint_id, **how):
    with transaction() as session:
        return releases.ship(session, DESK, wire.NewRelease(checkpoint_id=checkpoint_id, **how), "key test")


def measured():
    loop.tick()
    with transaction(read_only=True) as session:
        return monitoring.time_to_learn(session, DESK)


def events():
    return execute("SELECT count(*) FROM events")[0][0]


def test_before_the_first_release_all_events_wait():
    found = measured()

    assert (found.releases, found.waiting.events, found.objective) == ([], events(), None)


def test_a_release_makes_the_events_up_to_its_snapshot_live_once(tmp_path):
    made = checkpoint(tmp_path / "first")
    before = events()
    execute("ALTER TABLE events DISABLE TRIGGER USER")
    try:
        age(10)
    finally:
        execute("ALTER TABLE events ENABLE TRIGGER USER")
    vote(5, start=100)
    number = ship(made).number

    found = measured()

    assert [(each.release_number, each.checkpoint_id, each.events) for each in found.releases] == [
        (number, made, before)
    ]
    assert 10 * HOURS <= found.releases[0].p50_seconds <= 10 * HOURS + 120
    assert found.waiting.events == events() - before
    assert measured().releases == found.releases

    with transaction() as session:
        releases.ship(session, DESK, wire.NewRelease(rollback=True), "key test")
    ship(made)
    assert measured().releases == found.releases


def test_a_canary_makes_nothing_live(tmp_path):
    ship(checkpoint(tmp_path), share=0.2)

    assert measured().releases == []


def test_an_objective_is_reported_with_its_burn(tmp_path):
    rules = wire.MonitoringRules(live_share=0.5, live_hours=24)
    with transaction() as session:
        projects.change(session, DESK, wire.ProjectChange(monitoring=rules))
    made = checkpoint(tmp_path)
    execute("ALTER TABLE events DISABLE TRIGGER USER")
    try:
        age(30)
    finally:
        execute("ALTER TABLE events ENABLE TRIGGER USER")
    ship(made)

    objective = measured().objective

    assert (objective.share, objective.hours, objective.due) == (0.5, 24, events())
    assert (objective.in_time, objective.burn) == (0, 2)


def test_imported_events_have_no_age(tmp_path):
    execute("ALTER TABLE events DISABLE TRIGGER USER")
    execute("UPDATE events SET origin = 'import'")
    execute("ALTER TABLE events ENABLE TRIGGER USER")

    assert measured().waiting.events == 0
