"""Queries of Postgres that return Arrow tables."""

import pytest
from sqlalchemy import text

from app.arrow_queries import arrow, literal
from app.database import transaction
from app.errors import Unavailable

OURS = "FROM pg_stat_activity WHERE application_name = 'thumbwheel arrow'"
TRICKY = ["a' -- b", 'say "x", {', "C:\\new", "é"]


def found(query: str) -> list:
    with transaction() as session:
        return [value for batch in arrow(session, query) for value in batch.column(0).to_pylist()]


def test_literals_are_what_they_were(database):
    assert found(f"SELECT {literal(TRICKY[0])}::text") == [TRICKY[0]]
    assert found(f"SELECT unnest({literal(TRICKY)}::text[])") == TRICKY
    assert found(f"SELECT unnest({literal([1, 2**40])}::bigint[])") == [1, 2**40]
    assert found(f"SELECT unnest({literal([])}::bigint[])") == []


def test_a_connection_that_postgres_ended_is_replaced(database):
    assert found("SELECT 1") == [1]
    with transaction() as session:
        ended = session.scalar(text(f"SELECT count(pg_terminate_backend(pid)) {OURS}"))

    assert ended
    assert found("SELECT 2") == [2]


def test_a_query_that_is_cut_off_says_that_postgres_does_not_answer(database):
    with transaction() as session:
        batches = arrow(session, "SELECT n, repeat('x', 1000) FROM generate_series(1, 1000000) AS n")
        next(batches)
        session.execute(text(f"SELECT pg_terminate_backend(pid) {OURS}"))
        with pytest.raises(Unavailable):
            list(batches)
