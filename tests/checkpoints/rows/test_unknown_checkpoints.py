"""Events that name an unknown checkpoint are stored, counted up to a limit, and shown."""

from uuid import UUID, uuid4

import pytest
from thumbwheel import wire

from app.checkpoints.unknown import service as unknown
from app.database import transaction
from app.loop import service as loop
from app.runs import service as runs
from tests.desk import DESK, checkpoint, execute, make_project, vote
from tests.logged import store
from tests.privacy.rows.test_erasures import thumb


@pytest.fixture(autouse=True)
def _project(database):
    make_project()


def name(checkpoints: list[UUID], first: int = 0, project: str = DESK) -> None:
    """Stores an event for each of the checkpoint ids."""
    ids = enumerate(checkpoints, start=first)
    store(project, [thumb("ann", f"c{number}", checkpoint_id=str(named)) for number, named in ids])


def count(project: str = DESK) -> wire.Readiness:
    with transaction() as session:
        unknown.count(session, project)
    with transaction() as session:
        return runs.readiness(session, project)


def ids_of(ready: wire.Readiness) -> dict[UUID, int]:
    return {each.checkpoint_id: each.events for each in ready.unknown_checkpoints.first}


def test_events_with_an_unknown_checkpoint_are_stored_counted_by_the_tick_and_shown_with_the_remedy():
    first, second = uuid4(), uuid4()
    name([first, first, second])
    store(DESK, [thumb("ann", "none")])

    loop.tick()

    with transaction() as session:
        ready = runs.readiness(session, DESK)
    assert ids_of(ready) == {first: 2, second: 1}
    assert (ready.unknown_checkpoints.events, ready.unknown_checkpoints.ids) == (3, 2)
    assert "3 events name a checkpoint that the project does not have" in ready.notices[-1]
    assert "GET /v1/releases/current" in ready.notices[-1]
    assert execute("SELECT count(*) FROM events") == [(4,)]


def test_known_checkpoints_and_those_of_no_event_are_no_notice(tmp_path):
    vote()
    known = checkpoint(tmp_path)
    name([known], first=100)

    ready = count()

    assert ready.unknown_checkpoints.events == 0
    assert unknown.notices(ready.unknown_checkpoints) == []


def test_a_checkpoint_of_another_project_is_unknown_here(tmp_path):
    vote()
    theirs = checkpoint(tmp_path)
    make_project("other")
    name([theirs], project="other")

    assert ids_of(count("other")) == {theirs: 1}
    assert count(DESK).unknown_checkpoints.events == 0


def test_an_event_is_counted_once_however_often_the_log_is_looked_at():
    named = uuid4()
    name([named])
    count()
    count()
    name([named, named], first=10)

    assert ids_of(count()) == {named: 3}


def test_a_long_log_is_counted_part_by_part(monkeypatch):
    monkeypatch.setattr(unknown, "LOOKED_AT", 2)
    named = uuid4()
    name([named] * 5)

    assert [count().unknown_checkpoints.events for _ in range(4)] == [2, 4, 5, 5]


def test_of_a_million_random_ids_a_bounded_number_is_kept_and_the_others_are_counted_together(monkeypatch):
    monkeypatch.setattr(unknown, "MOST_IDS", 3)
    often = uuid4()
    name([often, *[uuid4() for _ in range(9)], often])

    ready = count()

    found = ready.unknown_checkpoints
    assert (found.events, found.ids, found.further_events) == (11, 3, 7)
    assert ids_of(ready)[often] == 2
    name([often, uuid4()], first=20)
    found = count().unknown_checkpoints
    assert (found.events, found.ids, found.further_events) == (13, 3, 8)
    assert execute("SELECT count(*) FROM unknown_checkpoints") == [(3,)]
