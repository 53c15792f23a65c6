"""Every invalid request gets a problem that names the fault, never a 500."""

import json
import socket
from collections.abc import Iterator

import pytest

from tests.served import served

JSON = {"Content-Type": "application/json"}
BODIES = {
    "no JSON": (b"{", "invalid_json"),
    "empty": (b"", "invalid_request"),
    "no UTF-8": (b'{"project": "\xff\xfe"}', "invalid_json"),
    "a bomb of brackets": (b"[" * 200_000, "invalid_json"),
    "a number too long": (b'{"project": ' + b"9" * 10_000 + b"}", "invalid_json"),
    "a lone surrogate as a field": (b'{"\\ud800": 1}', "invalid_request"),
    "a lone surrogate as a value": (b'{"project": "x", "base_model": "\\ud800"}', "invalid_request"),
    "NUL": (b'{"project": "x", "base_model": "a\\u0000b"}', "invalid_request"),
    "an array": (b"[]", "invalid_request"),
    "null": (b"null", "invalid_request"),
    "not a number": (
        b'{"project": "x", "base_model": "/m", "gates": {"name": "g", "rules": [{"metric": "auroc", "above": NaN}]}}',
        "invalid_request",
    ),
}


@pytest.mark.parametrize(("body", "code"), BODIES.values(), ids=BODIES.keys())
def test_a_body_that_cannot_be_meant_is_a_problem_of_the_sender(api, body, code):
    answer = api.post("/v1/projects", content=body, headers=JSON)

    assert answer.status_code == 422, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == code
    assert answer.json()["errors"]


def test_each_fault_has_a_pointer_into_the_body(api):
    answer = api.post(
        "/v1/projects",
        json={
            "project": "x",
            "base_model": "/m",
            "gates": {"name": "g", "rules": [{"above": "x"}]},
            "trigger": {"a/b": 1},
        },
    )

    assert {fault["pointer"] for fault in answer.json()["errors"]} == {
        "/gates/rules/0/above",
        "/gates/rules/0/metric",
        "/trigger/a~1b",
    }


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""])
def test_another_type_than_json_is_refused(api, kind):
    answer = api.post("/v1/projects", content=b'{"project": "x", "base_model": "/m"}', headers={"Content-Type": kind})

    assert answer.status_code == 415
    assert answer.json()["code"] == "not_json"


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/ld+json"])
def test_every_kind_of_json_is_taken(api, kind):
    answer = api.patch("/v1/projects/acme", content=b"{}", headers={"Content-Type": kind})

    assert answer.status_code == 200


def test_a_large_body_is_refused_by_its_length(api):
    body = json.dumps({"project": "x", "base_model": "m" * 17 * 1024 * 1024})

    answer = api.post("/v1/projects", content=body, headers=JSON)

    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"


def test_a_large_body_without_a_length_is_refused_once_it_is_too_long(api):
    def chunks() -> Iterator[bytes]:
        yield b'{"base_model": "'
        for _ in range(17):
            yield b"m" * 1024 * 1024

    answer = api.post("/v1/projects", content=chunks(), headers=JSON)

    assert answer.status_code == 413
    assert "1 MiB" in answer.json()["detail"]


def test_unknown_paths_and_methods_are_problems_too(api):
    nowhere = api.get("/v1/nothing")
    wrong = api.put("/v1/projects", json={})

    assert (nowhere.status_code, nowhere.json()["code"]) == (404, "http_404")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "http_405")
    assert wrong.headers["Allow"]


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/runs/"), ("POST", "/v1/projects/"), ("GET", "/livez/")])
def test_a_path_with_a_slash_at_its_end_is_not_found_and_not_redirected(api, method, path):
    answer = api.request(method, path, json={} if method == "POST" else None, follow_redirects=False)

    assert (answer.status_code, answer.json()["code"]) == (404, "http_404")


def test_a_hundred_megabytes_are_refused_before_they_are_sent(database):
    head = (
        b"POST /v1/feedback HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 104857600\r\n\r\n"
    )

    with (
        served() as url,
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=30) as connection,
    ):
        connection.sendall(head)
        answer = connection.recv(4096)

    assert answer.startswith(b"HTTP/1.1 413 ")
