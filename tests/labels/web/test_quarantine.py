"""Quarantine over HTTP."""

import pytest
from thumbwheel import wire

from tests.labels.rows.test_quarantine import thumbs

PROJECT = {"project": "acme"}
ODD = "üser/7?&#😀 "


@pytest.fixture
def found(api):
    """The API after 70 fast votes each of `bot` and an actor with an odd id, and three slow votes of `ann`."""
    events = [event for actor in ("bot", ODD) for event in thumbs(actor, 70, apart=0.5, value="both")]
    answer = api.post("/v1/feedback/batch", params=PROJECT, json=[*events, *thumbs("ann", 3, apart=50)])
    assert answer.json()["stored"] == 143, answer.text
    return api


def decide(api, **body):
    sent = {"actor": "bot", "decision": "released", "reason": "our own test", **body}
    return api.post("/v1/quarantine/decisions", params=PROJECT, json=sent)


def states(api, **filters):
    items = api.get("/v1/quarantine", params={**PROJECT, **filters}).json()["items"]
    return {item["actor"]: item["state"] for item in items}


def test_an_actor_is_listed_decided_on_and_shown(found):
    assert states(found) == {"bot": "quarantined", ODD: "quarantined"}

    made = decide(found)

    assert made.status_code == 201, made.text
    shown = found.get("/v1/quarantine/actor", params={**PROJECT, "actor": "bot"}).json()
    assert (shown["state"], shown["decision"]) == ("released", made.json())
    assert shown["findings"][0]["said"] == "70 votes within 60 seconds"
    assert made.json()["by"] == "key first admin"
    assert states(found, state="quarantined") == {ODD: "quarantined"}


def test_an_actor_id_may_hold_any_character(found):
    assert decide(found, actor=ODD, decision="confirmed").status_code == 201

    assert found.get("/v1/quarantine/actor", params={**PROJECT, "actor": ODD}).json()["state"] == "confirmed"
    decisions = found.get("/v1/quarantine/decisions", params={**PROJECT, "actor": ODD}).json()["items"]
    assert [one["decision"] for one in decisions] == ["confirmed"]


def test_pages_lead_from_one_to_the_next(found):
    first = found.get("/v1/quarantine", params={**PROJECT, "limit": 1}).json()
    second = found.get("/v1/quarantine", params={**PROJECT, "limit": 1, "cursor": first["next_cursor"]}).json()

    assert [item["actor"] for item in first["items"] + second["items"]] == ["bot", ODD]
    assert second["next_cursor"] is None


def test_the_ledger_has_every_decision_newest_first(found):
    for decision in ("confirmed", "released"):
        decide(found, decision=decision)

    ledger = found.get("/v1/quarantine/decisions", params=PROJECT).json()["items"]

    assert [(one["number"], one["decision"]) for one in ledger] == [(2, "released"), (1, "confirmed")]


def test_what_cannot_be_decided_is_named(found):
    unknown, silent = decide(found, actor="nobody"), decide(found, reason=" ")

    assert (unknown.status_code, unknown.json()["code"]) == (404, "actor_not_found")
    assert (silent.status_code, silent.json()["errors"][0]["pointer"]) == (422, "/reason")
    assert decide(found, decision="forgotten").status_code == 422
    assert found.get("/v1/quarantine/actor", params={**PROJECT, "actor": "ann"}).status_code == 404
    assert found.get("/v1/quarantine/actor", params={**PROJECT, "actor": "a\x00b"}).status_code == 422
    assert found.get("/v1/quarantine", params={**PROJECT, "cursor": "*"}).status_code == 422


def test_reading_and_deciding_have_scopes_of_their_own(found, key):
    reader: dict[str, str] = key("feedback:read", project="acme")
    scopes: list[wire.Scope] = ["feedback:write", "runs:read", "runs:write"]

    assert found.get("/v1/quarantine", headers=reader).status_code == 200
    body = {"actor": "bot", "decision": "released", "reason": "own"}
    assert found.post("/v1/quarantine/decisions", headers=reader, json=body).status_code == 403
    assert found.get("/v1/quarantine", headers=key(*scopes, project="acme")).status_code == 403
