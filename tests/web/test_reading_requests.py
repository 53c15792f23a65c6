"""A GET never writes: Postgres refuses it. Two of them keep what they derived from the log, and change nothing else."""

import re
from collections.abc import Iterator
from uuid import uuid4

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import text

from app.main import create_app
from app.web.session import Transaction, keeps_readings
from tests.desk import execute, vote

#: What a reading of the log keeps for the next one.
KEPT = {"prompts_placed", "prompt_leaders", "led_prompts", "conversation_links", "conversation_strays",
        "conversation_joins", "edit_comparisons"}  # fmt: skip


def rename(session: Transaction) -> None:
    session.execute(text("UPDATE api_keys SET name = 'renamed'"))


def rename_as_kept(session: Transaction) -> None:
    rename(session)


@pytest.fixture(scope="module")
def writing_application() -> FastAPI:
    """The API with operations that write."""
    application = create_app()
    application.add_api_route("/write", rename, methods=["GET", "POST"])
    application.add_api_route("/keep", keeps_readings(rename_as_kept), methods=["GET"])
    return application


@pytest.fixture
def writer(writing_application: FastAPI, admin_key: str) -> Iterator[TestClient]:
    with TestClient(writing_application, raise_server_exceptions=False) as client:
        yield client


def names() -> list[str]:
    return [name for (name,) in execute("SELECT name FROM api_keys")]


def test_a_get_that_writes_is_an_error_of_ours_and_writes_nothing(writer):
    answer = writer.get("/write")

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert names() == ["first admin"]


@pytest.mark.parametrize(("method", "path"), [("POST", "/write"), ("GET", "/keep")])
def test_a_post_writes_and_so_does_a_get_that_keeps_its_reading(writer, method, path):
    assert writer.request(method, path).status_code == 200
    assert names() == ["renamed"]


def contents() -> dict[str, str]:
    """A digest of every table's rows."""
    tables = execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'")
    every_row = "SELECT md5(coalesce(string_agg(t::text, '' ORDER BY t::text), '')) FROM {} t"
    return {name: execute(every_row.format(name))[0][0] for (name,) in tables if name not in KEPT}


def test_no_reading_operation_changes_a_row(api):
    vote(project="acme")
    before = contents()
    operations = [path for path, methods in api.get("/openapi.json").json()["paths"].items() if "get" in methods]

    for path in ["/", *operations]:
        address = re.sub(r"\{\w+\}", str(uuid4()), path.replace("{project}", "acme"))
        assert api.get(address, params={"project": "acme"}).status_code != 500, address

    assert len(operations) > 20
    assert contents() == before
