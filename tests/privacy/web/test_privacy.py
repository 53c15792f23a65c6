"""Erasures and receipts over HTTP."""

import hashlib
import json
from urllib.parse import quote

import pytest

from app.privacy.erasures import service as erasures

PROJECT = {"project": "acme"}
ODD = "üser/7?&#😀 /receipt"


def thumb(actor: str, event_id: str, **more) -> dict[str, object]:
    return {
        "event_id": event_id,
        "completion_id": "c1",
        "actor": actor,
        "prompt": "Where is it?",
        "completion": "Tomorrow.",
        "signal": {"kind": "thumbs", "value": "up"},
        **more,
    }


@pytest.fixture
def admin(api):
    """The API with events of two actors. One of them has an odd id, and one of its events too."""
    for event in (thumb("ann", "a1"), thumb(ODD, ODD), thumb(ODD, "o2", completion_id="c2")):
        answer = api.post("/v1/feedback", params=PROJECT, json=event)
        assert answer.status_code == 201, answer.text
    return api


def finish(erasure_id: str) -> None:
    for _ in ("log", "events", "completions", "labels", "snapshots", "end"):
        erasures.advance(erasure_id)


def test_erasures_of_another_project_are_copied_by_an_admin_and_once(admin, key):
    digest = hashlib.sha256(b"old-desk\0ann").hexdigest()
    erasure = {"hashed_for": "old-desk", "actor_sha256": digest, "requested_at": "2026-02-03T04:05:06Z"}
    body = {"erasures": [erasure]}

    refused = admin.post("/v1/erasures", json=body, headers=key("feedback:write", "feedback:read", project="acme"))
    first = admin.post("/v1/erasures", params=PROJECT, json=body)
    again = admin.post("/v1/erasures", params=PROJECT, json=body)
    event = admin.post("/v1/feedback", params=PROJECT, json=thumb("ann", "a2"))
    batch = admin.post("/v1/feedback/batch", params=PROJECT, json=[thumb("ann", "a3"), thumb("bob", "b1")])

    assert refused.status_code == 403
    assert (first.json(), again.json()) == ({"copied": 1, "known": 0}, {"copied": 0, "known": 1})
    assert (event.status_code, event.json()["code"]) == (409, "actor_erased")
    assert [item["status"] for item in batch.json()["items"]] == ["erased", "stored"]


def test_an_erasure_is_begun_followed_and_certified(admin):
    begun = admin.delete(f"/v1/actors/{quote(ODD, safe='')}", params=PROJECT)

    assert begun.status_code == 202, begun.text
    assert (begun.json()["state"], begun.json()["certificate"]) == ("pending", None)
    assert admin.get(begun.headers["Location"]).json() == begun.json()
    again = admin.delete("/v1/actors", params={**PROJECT, "actor": ODD})
    assert (again.status_code, again.json()["id"]) == (202, begun.json()["id"])

    finish(begun.json()["id"])

    done = admin.get(begun.headers["Location"]).json()
    assert done["state"] == "done"
    assert done["requested_by"] == "key first admin"
    assert (done["certificate"]["events"], done["certificate"]["event_ids"]) == (2, ["o2", ODD])
    assert admin.delete("/v1/actors", params={**PROJECT, "actor": ODD}).status_code == 200
    [listed] = admin.get("/v1/erasures", params=PROJECT).json()["items"]
    assert listed == {**done, "certificate": None}
    events = f"/v1/erasures/{done['id']}/events"
    first = admin.get(events, params={**PROJECT, "limit": 1}).json()
    second = admin.get(events, params={**PROJECT, "limit": 1, "cursor": first["next_cursor"]}).json()
    assert [one["event_id"] for one in first["items"] + second["items"]] == ["o2", ODD]
    assert second["next_cursor"] is None


def test_an_erased_actor_is_refused_with_the_remedy_and_let_back(admin):
    begun = admin.delete("/v1/actors", params={**PROJECT, "actor": ODD}).json()
    tombstone = f"/v1/erasures/{begun['id']}/tombstone"

    refused = admin.post("/v1/feedback", params=PROJECT, json=thumb(ODD, "o3"))
    assert (refused.status_code, refused.json()["code"]) == (409, "actor_erased")
    assert "tombstone" in refused.json()["detail"]
    early = admin.delete(tombstone, params=PROJECT)
    assert (early.status_code, early.json()["code"]) == (409, "erasure_unfinished")
    finish(begun["id"])
    lifted = admin.delete(tombstone, params=PROJECT)

    assert (lifted.status_code, lifted.json()["tombstone"]) == (200, False)
    gone = admin.post("/v1/feedback", params=PROJECT, json=thumb(ODD, "o2", completion_id="c2"))
    assert (gone.status_code, gone.json()["code"]) == (409, "event_erased")
    assert admin.post("/v1/feedback", params=PROJECT, json=thumb(ODD, "o3")).status_code == 201


@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson"])
def test_a_batch_says_item_by_item_whose_actor_was_erased(admin, kind):
    admin.delete("/v1/actors", params={**PROJECT, "actor": ODD})
    events = [thumb("bob", "b1"), thumb(ODD, "o3"), thumb(ODD, ODD)]
    body = json.dumps(events) if kind == "application/json" else "\n".join(map(json.dumps, events))

    answer = admin.post("/v1/feedback/batch", params=PROJECT, content=body, headers={"Content-Type": kind})

    assert answer.status_code == 207
    receipt = answer.json()
    assert [one["status"] for one in receipt["items"]] == ["stored", "erased", "erased"]
    assert (receipt["stored"], receipt["rejected"]) == (1, 2)
    assert "erased" in receipt["items"][1]["error"]


def test_only_an_admin_erases(admin, key):
    reader = key("feedback:read", project="acme")

    refused = admin.delete("/v1/actors/ann", headers=reader)
    assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")
    assert admin.get("/v1/erasures", headers=reader).json()["items"] == []


def test_an_actor_that_nobody_knows_is_named(admin):
    answer = admin.delete("/v1/actors/nobody", params=PROJECT)

    assert (answer.status_code, answer.json()["code"]) == (404, "actor_not_found")


def test_never_train_is_shown_and_belongs_to_the_body(admin):
    sent = thumb("bob", "b1", never_train=True)
    assert admin.post("/v1/feedback", params=PROJECT, json=sent).status_code == 201

    assert admin.post("/v1/feedback", params=PROJECT, json=sent).status_code == 200
    other = admin.post("/v1/feedback", params=PROJECT, json=thumb("bob", "b1"))
    assert (other.status_code, other.json()["details"]["differs"]) == (409, ["/never_train"])
    shown = {one["event_id"]: one["never_train"] for one in admin.get("/v1/feedback", params=PROJECT).json()["items"]}
    assert shown == {"b1": True, "o2": False, ODD: False, "a1": False}


def test_a_receipt_says_what_became_of_an_event_and_nothing_of_others(admin):
    answer = admin.get(f"/v1/feedback/{quote(ODD, safe='')}/receipt", params=PROJECT)

    assert answer.status_code == 200, answer.text
    receipt = answer.json()
    assert (receipt["completion_id"], receipt["never_train"]) == ("c1", False)
    assert (receipt["label"]["label"], receipt["label"]["signal"]["counts"]) == ("desirable", True)
    assert (receipt["snapshots"], receipt["runs"], receipt["checkpoints"]) == ([], [], [])
    assert "ann" not in answer.text


def test_of_an_erased_event_there_is_no_receipt(admin):
    begun = admin.delete("/v1/actors", params={**PROJECT, "actor": ODD}).json()
    finish(begun["id"])

    codes = [admin.get(f"/v1/feedback/{one}/receipt", params=PROJECT).json()["code"] for one in ("o2", "o9")]

    assert codes == ["event_erased", "event_not_found"]
