"""Copies of the log over HTTP: pages, scopes, bodies."""

import gzip
import json
from typing import Any

import pytest

from app.feedback.copying import service as copying
from tests.feedback.rows.test_copying import OTHERS
from tests.logged import store

LINES = {"Content-Type": "application/x-ndjson"}


def row(position: int, **other: Any) -> bytes:
    document = {**OTHERS[0], "event_id": f"e{position}", "position": position, "received_at": "2026-02-03T04:05:06Z"}
    return json.dumps({**document, **other}).encode()


def pages(api: Any, headers: dict[str, str] | None = None, **parameters: Any) -> Any:
    return api.get("/v1/log/events", params={"project": "acme", **parameters}, headers=headers)


def test_pages_end_at_their_bounds_and_go_on_after_a_position(api, monkeypatch):
    store("acme", [{**OTHERS[0], "event_id": f"e{number}", "completion": "x" * 1000} for number in range(8)])

    monkeypatch.setattr(copying, "PAGE_ROWS", 3)
    assert pages(api, until=8).text.count("\n") == 3
    monkeypatch.setattr(copying, "PAGE_BYTES", 2000)
    assert pages(api, until=8, after=4).text.count("\n") == 2
    assert pages(api, until=6, after=4).text.count("\n") == 2
    assert pages(api, until=8, after=8).content == b""
    plain = pages(api, {"Accept-Encoding": "identity"}, until=1)
    assert "Content-Encoding" not in plain.headers
    assert json.loads(plain.text)["metadata"] == {"n": 1.0, "line": "a\nb"}
    assert api.get("/v1/log/votes", params={"project": "acme", "until": 1}).status_code == 422


def test_reading_needs_the_right_to_read_and_copying_in_an_admin_key(api, key):
    reader, writer = key("feedback:read", project="acme"), key("feedback:write", "runs:write", project="acme")

    assert pages(api, reader, until=1).status_code == 200
    assert pages(api, writer, until=1).status_code == 403
    assert api.get("/v1/labels", headers=writer).status_code == 403
    assert api.post("/v1/log", content=row(1), headers={**LINES, **writer}).status_code == 403
    assert api.post("/v1/log", content=row(1), headers={**LINES, "Authorization": "Bearer tw_x"}).status_code == 401


def test_rows_go_in_plain_or_compressed_and_faults_name_line_and_field(api):
    where = {"project": "acme"}
    lines = b"\n".join(map(row, (1, 2, 5)))

    plain = api.post("/v1/log", params=where, content=lines, headers=LINES)
    zipped = api.post(
        "/v1/log", params=where, content=gzip.compress(lines), headers={**LINES, "Content-Encoding": "gzip"}
    )
    faulty = api.post("/v1/log", params=where, content=row(6) + b"\n" + row(7, actor=""), headers=LINES)
    last = api.post("/v1/log", params=where, content=row(2**63 - 2), headers=LINES)
    behind = api.post("/v1/log", params=where, content=row(4), headers=LINES)

    assert plain.json() == {"stored": 3, "replayed": 0, "erased": 0, "expired": 0, "watermark": 5}
    assert zipped.json() == {"stored": 0, "replayed": 3, "erased": 0, "expired": 0, "watermark": 5}
    assert (faulty.status_code, faulty.json()["errors"][0]["pointer"]) == (422, "/1/actor")
    assert (last.status_code, last.json()["errors"][0]["pointer"]) == (422, "/0/position")
    assert (behind.status_code, behind.json()["code"]) == (409, "log_has_other_rows")
    assert api.get("/v1/log", params=where).json() == {"watermark": 5, "erasures": 0}


def test_an_archived_project_takes_no_rows(api):
    api.patch("/v1/projects/acme", json={"archived": True})

    answer = api.post("/v1/log", params={"project": "acme"}, content=row(1), headers=LINES)

    assert (answer.status_code, answer.json()["code"]) == (409, "project_archived")


@pytest.mark.parametrize("accept", ["gzip", "identity"])
def test_labels_are_lines_compressed_or_not(api, accept):
    store("acme", [OTHERS[0], OTHERS[3]])

    answer = api.get("/v1/labels", params={"project": "acme"}, headers={"Accept-Encoding": accept})

    assert [json.loads(line)["completion_id"] for line in answer.text.splitlines()] == ["x1", "x3"]
    assert ("Content-Encoding" in answer.headers) == (accept == "gzip")
