"""Errors of Postgres in a transaction: transient ones become errors of Thumbwheel, others are raised unchanged."""

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.database import Purpose, engine, transaction
from app.errors import Unavailable


def code_of(*statements: str, purpose: Purpose = Purpose.WORK) -> str:
    with pytest.raises(Unavailable) as raised:
        execute(purpose, statements)
    return raised.value.code


def execute(purpose: Purpose, statements: tuple[str, ...]) -> None:
    with transaction(purpose) as session:
        for statement in statements:
            session.execute(text(statement))


def test_a_connection_that_is_ended_by_the_server_is_called_away(database):
    assert code_of("SELECT pg_terminate_backend(pg_backend_pid())") == "database_unavailable"


def test_a_statement_that_takes_too_long_is_called_busy(database):
    assert code_of("SET LOCAL statement_timeout = 10", "SELECT pg_sleep(20)") == "database_busy"


def test_a_lock_that_somebody_else_keeps_is_called_busy(database):
    with psycopg.connect(database) as other:
        other.execute("LOCK TABLE projects")
        assert code_of("SET LOCAL lock_timeout = 10", "SELECT FROM projects") == "database_busy"


def test_a_server_that_takes_no_writes_says_so(database):
    code = code_of("SET TRANSACTION READ ONLY", "CREATE TABLE nothing ()")

    assert code == "database_read_only"


def test_more_values_than_a_statement_can_have_is_no_outage(database):
    statement = f"SELECT 1 WHERE 1 IN ({', '.join(['%s'] * 70_000)})"

    with pytest.raises(DBAPIError, match="number of parameters"), transaction() as session:
        session.connection().exec_driver_sql(statement, tuple(range(70_000)))


def test_what_a_constraint_refuses_is_raised_as_it_is(database):
    with pytest.raises(DBAPIError, match="DivisionByZero"), transaction() as session:
        session.execute(text("SELECT 1 / 0"))


def test_connections_that_others_hold_are_called_busy(database):
    held = engine(Purpose.PROBES).connect()
    try:
        assert code_of("SELECT 1", purpose=Purpose.PROBES) == "busy"
    finally:
        held.close()
