"""Tables after an erasure: rewritten or vacuumed, safely retried, and listed in the certificate."""

from datetime import timedelta

import psycopg
import pytest
from thumbwheel import wire

from app import settings
from app.database import transaction
from app.privacy.erasures import service as erasures
from app.privacy.erasures.failures import MOST_ATTEMPTS
from app.privacy.vacuums import service as vacuums
from app.privacy.vacuums import vacuum
from tests.conftest import Servers
from tests.desk import DESK, execute, make_project
from tests.logged import register, store
from tests.privacy.rows.test_erasures import ask, finish, shown, thumb

SECRET = "the parcel of Eve Adams at 7 Elm Street"
OF_EVERY_ERASURE = {"actor_findings", "erased_completions", "erasures"}


@pytest.fixture(autouse=True)
def _project(database):
    make_project()


def erased(actor: str = "eve", **more) -> wire.Erasure:
    store(DESK, [thumb(actor, f"of {actor}", prompt=f"Where is {SECRET}?", completion=f"{SECRET} is here.", **more)])
    return finish(ask(actor))


def vacuum_all(erasure: wire.Erasure) -> wire.Erasure:
    """Advances an erasure often enough to finish, like a worker that receives one message after another."""
    for _ in range(20):
        erasures.advance(erasure.id)
    return shown(erasure)


def rewritten(erasure: wire.Erasure) -> dict[str, bool | None]:
    return {table.table: table.rewritten for table in erasure.certificate.tables}


def months() -> set[str]:
    return {name for (name,) in execute("SELECT DISTINCT tableoid::regclass::text FROM events")}


def test_the_tables_that_an_erasure_touched_are_rewritten_and_listed():
    store(DESK, [thumb("ann", "c1")])
    store(DESK, [thumb("eve", "c2")])
    register(DESK, "c2", {"prompt": "Hi", "completion": SECRET})
    done = finish(ask())
    [month] = months()
    assert done.vacuumed_at is None
    assert set(rewritten(done)) == OF_EVERY_ERASURE | {month, "completions"}

    vacuumed = vacuum_all(done)

    assert rewritten(vacuumed) == dict.fromkeys([*OF_EVERY_ERASURE, month, "completions"], True)
    assert vacuumed.vacuumed_at is not None
    assert vacuumed.finished_at <= vacuumed.vacuumed_at
    assert vacuumed.trouble is None


def test_erased_words_are_in_no_file_of_a_rewritten_table(servers: Servers):
    store(DESK, [thumb("ann", "c1", prompt="What of it?", completion="The words of Ann.")])
    done = erased()

    vacuumed = vacuum_all(done)

    [month] = [table for table in rewritten(vacuumed) if table.startswith("events_")]
    words = words_in_file(servers, month)
    assert SECRET.encode() not in words
    assert b"The words of Ann." in words


def words_in_file(servers: Servers, table: str) -> bytes:
    [(path,)] = execute(f"SELECT pg_relation_filepath('{table}')")
    return (servers.folder / "postgres" / "cluster" / path).read_bytes()


def test_a_large_table_is_vacuumed_where_it_is_and_the_certificate_says_so(monkeypatch):
    monkeypatch.setattr(vacuum, "REWRITTEN_BYTES", 0)
    done = erased()
    [month] = [table for table in rewritten(done) if table.startswith("events_")]
    before = execute(f"SELECT pg_relation_filenode('{month}')")

    vacuumed = vacuum_all(done)

    assert vacuumed.vacuumed_at is not None
    assert set(rewritten(vacuumed).values()) == {False}
    assert execute(f"SELECT pg_relation_filenode('{month}')") == before


def test_an_open_older_transaction_is_waited_for_and_named():
    with psycopg.connect(settings.current().need_libpq_database()) as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT 1 FROM projects")
        done = erased()

        erasures.advance(done.id)

        waiting = shown(done)
        assert waiting.state == "done"
        assert waiting.vacuumed_at is None
        assert f"(process {reader.info.backend_pid})" in waiting.trouble

    assert vacuum_all(done).vacuumed_at is not None
    assert shown(done).trouble is None


def test_a_table_that_others_keep_busy_is_tried_again_and_then_only_vacuumed(monkeypatch):
    monkeypatch.setattr(vacuum, "LOCK_SECONDS", 0.1)  # the lock is kept for longer than any wait for it
    done = erased()
    with psycopg.connect(settings.current().need_libpq_database()) as reader:
        for _ in range(vacuum.MOST_REWRITES):
            # It holds a lock but no snapshot, so it does not count as an older transaction.
            reader.execute("LOCK TABLE actor_findings IN ACCESS SHARE MODE")
            erasures.advance(done.id)
            assert shown(done).vacuumed_at is None
        assert "since it is busy" in shown(done).trouble

        erasures.advance(done.id)

    assert rewritten(shown(done))["actor_findings"] is False


def test_a_vacuum_goes_on_after_a_death_between_two_tables():
    done = erased()
    erasures.advance(done.id)
    begun = shown(done).certificate.tables
    assert 0 < sum(table.vacuumed_at is not None for table in begun) < len(begun)
    execute("DELETE FROM outbox")
    execute("UPDATE erasures SET next_attempt_at = now()")

    vacuumed = through_the_tick(done)

    assert vacuumed.vacuumed_at is not None
    for before in begun:
        if before.vacuumed_at is not None:
            assert before in vacuumed.certificate.tables


def through_the_tick(erasure: wire.Erasure) -> wire.Erasure:
    for _ in range(10):
        execute("UPDATE erasures SET next_attempt_at = now()")
        execute("DELETE FROM outbox")
        with transaction() as session:
            erasures.ring_due(session)
        if execute("SELECT count(*) FROM outbox WHERE task LIKE '%erase'") == [(0,)]:
            break
        erasures.advance(erasure.id)
    return shown(erasure)


def test_many_erasures_in_a_row_are_vacuumed_together():
    first = vacuum_all(erased("eve"))
    second, third = erased("bob"), erased("cat")

    erasures.advance(second.id)

    assert shown(second).vacuumed_at is None
    [(at,)] = execute("SELECT next_attempt_at FROM erasures WHERE id = :id", id=second.id)
    assert at == first.vacuumed_at + vacuums.REST
    execute("UPDATE erased_tables SET vacuumed_at = vacuumed_at - :rest", rest=vacuums.REST + timedelta(seconds=1))
    done = vacuum_all(second)
    assert done.vacuumed_at is not None
    assert shown(third).certificate.tables == done.certificate.tables


def test_a_table_that_the_service_may_not_vacuum_is_not_taken_for_vacuumed_and_rings_an_operator(caplog):
    done = erased()
    execute("UPDATE erased_tables SET table_name = 'pg_authid' WHERE table_name = 'erased_completions'")

    for _ in range(MOST_ATTEMPTS + 5):
        erasures.advance(done.id)

    assert shown(done).vacuumed_at is None
    assert "own the tables" in shown(done).trouble
    assert len([record for record in caplog.records if record.message.startswith("vacuum_failed")]) == 1
    assert shown(done).state == "done"
