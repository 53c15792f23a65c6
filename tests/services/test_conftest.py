"""The fixtures that all other tests use."""

import psycopg


def test_the_database_is_empty_for_each_test_first(database):
    _write_one_message(database)


def test_the_database_is_empty_for_each_test_second(database):
    _write_one_message(database)


def _write_one_message(url: str) -> None:
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM outbox").fetchone() == (0,)
        connection.execute(
            "INSERT INTO outbox (id, task, queue, arguments, created_at)"
            " VALUES (gen_random_uuid(), 'look', 'runs', '{}', now())"
        )
