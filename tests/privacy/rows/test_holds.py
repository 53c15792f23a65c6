"""Legal holds in Postgres: what they keep from being deleted, their history, and who releases them."""

import threading
import time
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError
from thumbwheel import wire

from app import artifacts, settings
from app.database import now, transaction
from app.errors import Conflict, Forbidden, Invalid, NotFound
from app.labels.quarantine import service as quarantine
from app.privacy.erasures import service as erasures
from app.privacy.holds import service as holds
from app.privacy.leftovers import service as leftovers
from tests.desk import DESK, execute, make_project
from tests.logged import record, register, store
from tests.privacy.rows.test_erasures import ask, finish, shown, tables_with, thumb
from tests.privacy.rows.test_retention import BY, hold, release

TEXT = {"prompt": "Where is the parcel of Eve Adams?", "completion": "On its way to Eve Adams."}


@pytest.fixture(autouse=True)
def _project(database):
    make_project()


def events() -> int:
    return execute("SELECT count(*) FROM events")[0][0]


def test_an_erasure_of_a_held_actor_waits_and_goes_on_after_the_release():
    store(DESK, [thumb("eve", "c1", **TEXT), thumb("ann", "c2")])
    placed = hold(actor="eve")

    waiting = ask()

    assert (waiting.state, waiting.tombstone, [each.hold_id for each in waiting.held]) == ("pending", True, [placed.id])
    assert str(placed.id) in (waiting.trouble or "")
    assert [answer.status for answer in record(DESK, [thumb("eve", "c3")])] == ["erased_actor"]
    for _ in range(5):
        erasures.advance(waiting.id)
    assert events() == 2

    release(placed)
    done = finish(waiting)

    assert events() == 1
    assert done.certificate is not None
    [met] = done.certificate.held
    assert (met.hold_id, met.until is not None) == (placed.id, True)
    assert tables_with("Eve Adams") == []
    assert execute("SELECT count(*) FROM quarantine_decisions") == [(0,)]
    with transaction() as session:
        assert holds.get(session, DESK, placed.id).subject is None


def test_what_a_held_erasure_would_delete_is_not_learnt_from_meanwhile():
    store(DESK, [thumb("eve", "c1", **TEXT)])
    hold(actor="eve")

    ask()
    ask()

    with transaction() as session:
        [decision] = quarantine.page(session, DESK, actor="eve").items
    assert (decision.decision, decision.by) == ("confirmed", "key officer")


@pytest.mark.parametrize("subject", [{}, {"completion_id": "c1"}, {"actor": "ann"}])
def test_an_erasure_waits_for_every_hold_that_covers_something_of_it(subject: dict[str, str]):
    store(DESK, [thumb("eve", "c1", **TEXT), thumb("ann", "c1"), thumb("ann", "c2")])
    placed = hold(**subject)
    hold(completion_id="c2")  # which the erasure does not touch
    waiting = ask()

    for _ in range(5):
        erasures.advance(waiting.id)

    assert events() == 3
    assert [each.hold_id for each in shown(waiting).held] == [placed.id]
    release(placed)
    finish(waiting)
    assert events() == 2


def test_an_erasure_does_not_wait_for_a_hold_on_others():
    store(DESK, [thumb("eve", "c1"), thumb("ann", "c2")])
    hold(actor="ann")

    assert finish(ask()).held == []
    assert events() == 1


def test_a_hold_that_comes_in_the_middle_stops_an_erasure_before_its_next_part():
    register(DESK, "c1", TEXT)
    store(DESK, [thumb("eve", "c1")])
    erasure = ask()
    erasures.advance(erasure.id)  # it has listed the events
    placed = hold(actor="eve")

    erasures.advance(erasure.id)

    assert events() == 1
    release(placed)
    finish(erasure)
    assert events() == 0


def test_a_hold_is_placed_only_once_those_who_delete_have_finished_their_transaction():
    store(DESK, [thumb("eve", "c1")])
    placed: list[wire.LegalHold] = []
    with transaction() as deleting:
        holds.in_force(deleting, DESK)
        placing = threading.Thread(target=lambda: placed.append(hold(actor="eve")))
        placing.start()
        with psycopg.connect(settings.current().need_libpq_database(), autocommit=True) as looking:
            while looking.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() != (1,):
                assert placing.is_alive()
        assert placed == []
    placing.join(10)
    assert placed[0].in_force


def test_a_hold_ends_by_itself():
    store(DESK, [thumb("eve", "c1")])
    hold(actor="eve", until=now() + timedelta(seconds=0.2))
    erasure = ask()
    assert erasure.held

    time.sleep(0.25)

    finish(erasure)
    assert events() == 0


def test_only_its_own_key_or_an_admin_key_of_the_server_releases_a_hold():
    placed = hold()
    with pytest.raises(Forbidden, match="placed by key officer"), transaction() as session:
        holds.release(session, DESK, placed.id, "mine", "key other", limited=True)

    with transaction() as session:
        first = holds.release(session, DESK, placed.id, "settled", "key admin", limited=False)
    with transaction() as session:
        again = holds.release(session, DESK, placed.id, "again", BY, limited=True)

    assert (first.in_force, first.released_by, first.release_reason) == (False, "key admin", "settled")
    assert again == first


def test_the_history_of_holds_only_grows():
    store(DESK, [thumb("eve", "c1")])
    release(hold(actor="eve"))

    for change in (
        "UPDATE legal_holds SET reason = ''", "UPDATE legal_holds SET subject = 'ann'", "DELETE FROM legal_holds",
        "UPDATE legal_hold_releases SET reason = ''", "DELETE FROM legal_hold_releases",
    ):  # fmt: skip
        with pytest.raises(DBAPIError, match="never changed"):
            execute(change)


def test_the_same_request_again_places_no_second_hold():
    store(DESK, [thumb("eve", "c1")])

    assert hold(actor="eve") == hold(actor="eve")


@pytest.mark.parametrize(
    ("subject", "error"),
    [
        ({"actor": "nobody"}, NotFound),
        ({"completion_id": "none"}, NotFound),
        ({"until": now() - timedelta(days=1)}, Invalid),
    ],
)
def test_a_hold_that_would_hold_nothing_is_refused(subject, error):
    with pytest.raises(error):
        hold(**subject)


def test_leftovers_are_not_deleted_while_a_hold_is_in_force(tmp_path):
    path = tmp_path / "file"
    path.write_text("left by a worker that was killed")
    sha256 = artifacts.put(path).sha256
    [stored] = [file for file in artifacts.stored() if file.sha256 == sha256]
    found = [leftovers.Leftover(sha256=sha256, size=stored.size, touched=stored.touched)]
    placed = hold()

    with pytest.raises(Conflict, match=f"Legal holds are in force .{DESK}."):
        leftovers.remove(found)

    release(placed)
    leftovers.remove(found)
    assert sha256 not in {file.sha256 for file in artifacts.stored()}
