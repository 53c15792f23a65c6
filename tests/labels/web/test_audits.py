"""Audits of labels over HTTP."""

from uuid import UUID

import pytest

from tests.desk import vote

PROJECT = {"project": "acme"}
UNKNOWN = UUID(int=7)


@pytest.fixture
def audit(api) -> str:
    """The path of an audit of ten rows."""
    vote(10, project="acme")
    made = api.post("/v1/audits", params=PROJECT, json={})
    assert made.status_code == 201, made.text
    return f"/v1/audits/{made.json()['id']}"


def give(api, audit, number, **body):
    return api.put(f"{audit}/items/{number}/verdict", params=PROJECT, json=body)


def test_an_audit_is_drawn_judged_and_read(api, audit):
    first = api.get(f"{audit}/items", params={**PROJECT, "pending": True, "limit": 1}).json()["items"][0]

    given = give(api, audit, first["number"], verdict="agree", note="clear")

    assert given.status_code == 200, given.text
    assert given.json()["verdict"] == "agree"
    assert given.json()["history"][0]["by"] == "key first admin"
    assert give(api, audit, first["number"], verdict="agree", note="clear").json() == given.json()
    shown = api.get(audit, params=PROJECT).json()
    assert (shown["items"], shown["pending"]) == (10, 9)
    assert shown == api.get("/v1/audits", params=PROJECT).json()["items"][0]


def test_rows_come_in_pages_of_which_none_is_lost(api, audit):
    numbers, cursor = [], None
    while True:
        parameters = {**PROJECT, "limit": 4, **({"cursor": cursor} if cursor else {})}
        page = api.get(f"{audit}/items", params=parameters).json()
        numbers += [item["number"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert numbers == list(range(1, 11))


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({"verdict": "perhaps"}, "/verdict"), ({}, "/verdict"), ({"verdict": "agree", "why": "x"}, "/why")],
)
def test_a_wrong_verdict_names_the_field_and_changes_nothing(api, audit, body, pointer):
    refused = give(api, audit, 1, **body)

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == pointer
    assert api.get(audit, params=PROJECT).json()["pending"] == 10


def test_unknown_audits_and_rows_are_not_found(api, audit):
    assert give(api, audit, 11, verdict="agree").json()["code"] == "audit_item_not_found"
    assert give(api, f"/v1/audits/{UNKNOWN}", 1, verdict="agree").json()["code"] == "audit_not_found"
    for path in (f"/v1/audits/{UNKNOWN}", f"/v1/audits/{UNKNOWN}/items"):
        assert api.get(path, params=PROJECT).status_code == 404


def test_impossible_audits_are_refused_with_their_reason(api):
    assert api.post("/v1/audits", params=PROJECT, json={}).json()["code"] == "nothing_to_audit"
    vote(5, project="acme", values=["down"])

    refused = api.post("/v1/audits", params=PROJECT, json={})

    assert (refused.status_code, refused.json()["code"]) == (409, "one_class")
    assert "wait for desirable ones" in refused.json()["detail"]
    assert api.post("/v1/audits", params=PROJECT, json={"per_class": 0}).status_code == 422


@pytest.mark.parametrize("cursor", ["x", "bm8", "MTox", "bmFuOm5hbg"])
def test_a_cursor_that_no_page_gave_out_is_refused_or_the_end(api, audit, cursor):
    assert api.get(f"{audit}/items", params={**PROJECT, "cursor": cursor}).status_code in (200, 422)


def test_a_key_that_only_reads_runs_does_not_judge(api, audit, key):
    reader, writer = key("runs:read", project="acme"), key("runs:write", project="acme")

    assert api.get(audit, headers=reader).status_code == 200
    refused = api.put(f"{audit}/items/1/verdict", headers=reader, json={"verdict": "agree"})
    assert refused.status_code == 403
    assert api.post("/v1/audits", headers=reader, json={}).status_code == 403
    assert api.put(f"{audit}/items/1/verdict", headers=writer, json={"verdict": "agree"}).status_code == 200
