"""Approval of releases and automatic rollback over HTTP and on the status page."""

import pytest

from app.loop import service as loop
from tests.desk import checkpoint, vote

PROJECT = {"project": "acme"}


@pytest.fixture
def live(api, tmp_path):
    """Returns the id of a live checkpoint with votes, in a project that shows segments and rolls back automatically."""
    rules = {"minimum_per_class": 5, "holdout_share": 0.3}
    monitoring = {"segments": ["country"], "rollback": {"minimum_labels": 5, "margin": 0, "grace_hours": 0}}
    changed = api.patch("/v1/projects/acme", json={"snapshot": rules, "monitoring": monitoring})
    assert changed.status_code == 200, changed.text
    vote(40, project="acme")
    first, second = (str(checkpoint(tmp_path / name, "acme")) for name in ("first", "second"))
    for made, value in ((first, "up"), (second, "down")):
        assert api.post("/v1/releases", params=PROJECT, json={"checkpoint_id": made}).status_code == 201
        text = {"prompt": "Hello?", "completion": "Good day.", "checkpoint_id": made, "metadata": {"country": "AT"}}
        for number in range(60):
            name = f"{value}-{number}"
            if number < 50:
                assert api.put(f"/v1/completions/{name}", params=PROJECT, json=text).status_code == 201
            event = {"completion_id": name, "actor": name, "signal": {"kind": "thumbs", "value": value}}
            event |= {"checkpoint_id": made, "metadata": {"country": "DE"}}
            assert api.post("/v1/feedback", params=PROJECT, json=event).status_code == 201
    return second


def test_a_worse_release_is_shown_and_taken_back_and_the_page_says_why(api, admin_key, live):
    before = api.get("/v1/releases/approval", params=PROJECT).json()
    assert (before["read_at"], before["releases"]) == (None, [])
    assert before["rollback"]["decision"]["reason"] == "the votes since release 3 have not been read yet"

    loop.tick()

    shown = api.get("/v1/releases/approval", params=PROJECT).json()
    [newest, *_] = shown["releases"]
    assert (newest["release_number"], newest["checkpoint_id"], newest["desirable"]) == (3, live, 0)
    assert (newest["exposures"], newest["voted_share"]) == (50, 1)
    assert [(each["value"], each["undesirable"], each["exposures"]) for each in newest["segments"][0]["segments"]] == [
        ("AT", 50, 50), ("DE", 10, 0),
    ]  # fmt: skip
    assert newest["comparison"]["high"] < 0
    assert newest["drift"]["total_variation"] == 1
    ledger = api.get("/v1/releases", params=PROJECT).json()["items"]
    assert (ledger[0]["action"], ledger[0]["by"], ledger[0]["decision"]["action"]) == (
        "rollback", "monitoring", "roll_back",
    )  # fmt: skip
    page = api.get("/", params=PROJECT, auth=("anybody", admin_key)).text
    assert "release 3 is worse: approval" in page
    assert "automatic</strong>" in page
    assert "against release 2, at any time" in page
    assert "weighted by outputs" in page


@pytest.mark.parametrize(
    ("rules", "pointer"),
    [
        ({"segments": ["a", "a"]}, "/monitoring/segments"),
        ({"segments": ["a", "b", "c", "d", "e", "f"]}, "/monitoring/segments"),
        ({"rollback": {"margin": 1}}, "/monitoring/rollback/margin"),
        ({"rollback": {"minimum_labels": 0}}, "/monitoring/rollback/minimum_labels"),
    ],
)
def test_rules_that_cannot_be_are_a_422_that_names_the_field(api, rules, pointer):
    answer = api.patch("/v1/projects/acme", json={"monitoring": rules})

    assert answer.status_code == 422
    assert pointer in answer.text
