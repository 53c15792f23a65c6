"""A GET never writes: Postgres refuses it, for every operation."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import text

from app.main import ROUTERS, create_app
from app.web.session import Transaction
from tests.desk import DESK, execute, finish, make_project, ready_to_finish, vote
from tests.logged import store


def rename(session: Transaction) -> None:
    session.execute(text("UPDATE api_keys SET name = 'renamed'"))


@pytest.fixture(scope="module")
def writing_application() -> FastAPI:
    """The API with an additional GET and POST that write."""
    application = create_app()
    application.add_api_route("/write", rename, methods=["GET", "POST"])
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


def test_a_post_writes(writer):
    assert writer.post("/write").status_code == 200
    assert names() == ["renamed"]


def contents() -> dict[str, str]:
    """Returns a digest of the rows of each table."""
    tables = execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'")
    every_row = "SELECT md5(coalesce(string_agg(t::text, '' ORDER BY t::text), '')) FROM {} t"
    return {name: execute(every_row.format(name))[0][0] for (name,) in tables}


def store_chats_and_edits() -> None:
    """Stores unread prompts of every kind, with edits."""
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello, how can I help you today?"}]
    for number in range(4):
        question = {"role": "user", "content": f"Where is my parcel with the number {number}, sent a week ago?"}
        chat = {"actor": f"chatter {number}", "conversation_id": f"chat {number}", "completion": "It left us today."}
        first = {**chat, "completion_id": f"hi {number}", "prompt": turns[:1]}
        second = {**chat, "completion_id": f"parcel {number}", "prompt": [*turns, question]}
        thumb, edit = {"kind": "thumbs", "value": "up"}, {"kind": "edit", "text": "It left us yesterday, at noon."}
        store(DESK, [{**first, "signal": thumb}, {**second, "signal": thumb}, {**second, "signal": edit}])


def ids_of_everything(api: TestClient, folder: Path) -> dict[str, str]:
    """Creates a project with all readable resources and returns the values of path parameters."""
    make_project()
    vote()
    claimed = ready_to_finish(folder)
    checkpoint = finish(claimed, folder)
    audit = api.post("/v1/audits", params={"project": DESK}, json={}).json()
    endpoint = {"url": "https://ops.example/"}
    endpoint_id = api.post("/v1/webhooks/endpoints", params={"project": DESK}, json=endpoint).json()["id"]
    api.post(f"/v1/webhooks/endpoints/{endpoint_id}/test", params={"project": DESK})
    target = {"name": "refusal", "settings": {"kind": "folder", "publish_folder": str(folder)}}
    assert api.post("/v1/serving/targets", params={"project": DESK}, json=target).status_code == 201
    run = str(claimed.lease.run_id)
    ids = {
        "project": DESK,
        "run_id": run,
        "snapshot_id": api.get(f"/v1/runs/{run}", params={"project": DESK}).json()["snapshot_id"],
        "checkpoint_id": str(checkpoint),
        "audit_id": audit["id"],
        "completion_id": "c1",
        "event_id": "e1",
        "path": "manifest.json",
        "version": "1",
        "name": "refusal",
        "erasure_id": str(uuid4()),
        "import_id": api.post("/v1/imports", params={"project": DESK}, content=b"{}").json()["id"],
        "hold_id": str(uuid4()),
        "record_id": str(uuid4()),
        "comparison_id": str(uuid4()),
        "endpoint_id": endpoint_id,
        "token": "none",
        "kind": "events",
    }
    store_chats_and_edits()
    return ids


#: Operations for which this project has nothing to read.
NOT_FOUND = {
    "/v1/completions/{completion_id:path}",
    "/v1/label-policies/{version}",
    "/v1/quarantine/actor",
    "/v1/checkpoints/{checkpoint_id}/card",
    "/v1/checkpoints/{checkpoint_id}/files/{path:path}",
    "/v1/checkpoints/{checkpoint_id}/samples",
    "/v1/checkpoints/{checkpoint_id}/suites/{name:path}",
    "/v1/suites/{name:path}/versions/{version}",
    "/v1/comparisons/{comparison_id}",
    "/v1/erasures/{erasure_id}",
    "/v1/erasures/{erasure_id}/events",
    "/v1/holds/{hold_id}",
    "/v1/projects/{project}/retention/months/{record_id}",
    "/v1/gateway",  # the gateway is off
    "/v1/models",
    "/vote/{token}",
}


def test_no_reading_operation_changes_a_row(open_page, tmp_path):
    ids = ids_of_everything(open_page, tmp_path)
    operations = [route.path for router in ROUTERS for route in router.routes if "GET" in route.methods]
    before = contents()

    answers = {
        path: open_page.get(path.replace(":path", "").format_map(ids), params={"project": DESK, "actor": "user 1"})
        for path in operations
    }

    assert contents() == before
    assert {path: answer.status_code for path, answer in answers.items()} == {
        path: 404 if path in NOT_FOUND else 200 for path in operations
    }
    assert len(operations) > len(NOT_FOUND) + 30
