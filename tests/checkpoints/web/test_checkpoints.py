"""Checkpoints over HTTP."""

import hashlib

import pytest

from app.database import new_id
from tests.desk import checkpoint, vote

PROJECT = {"project": "acme"}


@pytest.fixture
def made(api, tmp_path):
    """The id of a registered checkpoint."""
    rules = {"minimum_per_class": 5, "holdout_share": 0.3}
    assert api.patch("/v1/projects/acme", json={"snapshot": rules}).status_code == 200
    vote(40, project="acme")
    return checkpoint(tmp_path, "acme")


def test_a_checkpoint_is_shown_and_listed(api, made):
    shown = api.get(f"/v1/checkpoints/{made}", params=PROJECT).json()

    assert (shown["kind"], shown["verdict"], shown["live"]) == ("adapter", "passed", False)
    listed = api.get("/v1/checkpoints", params=PROJECT).json()["items"]
    assert [item["kind"] for item in listed] == ["adapter", "base"]
    assert listed[0] == shown
    assert shown["parent_id"] == listed[1]["id"]


def test_a_file_is_streamed_as_it_was_stored(api, made):
    ((path, sha256),) = api.get(f"/v1/checkpoints/{made}", params=PROJECT).json()["files"].items()

    answer = api.get(f"/v1/checkpoints/{made}/files/{path}", params=PROJECT)

    assert answer.status_code == 200
    assert hashlib.sha256(answer.content).hexdigest() == sha256
    assert answer.headers["ETag"] == f'"{sha256}"'


def test_a_file_that_is_not_there_is_a_404_that_names_those_that_are(api, made):
    answer = api.get(f"/v1/checkpoints/{made}/files/nested/none.bin", params=PROJECT)

    assert answer.status_code == 404
    assert "it has adapter_model.safetensors" in answer.json()["detail"]


def test_unknown_checkpoints_and_other_projects_are_turned_away(api, made, key):
    api.post("/v1/projects", json={"project": "other", "base_model": "/models/base"})
    stranger = key("runs:read", project="other")

    assert api.get(f"/v1/checkpoints/{new_id()}", params=PROJECT).status_code == 404
    assert api.get(f"/v1/checkpoints/{made}", headers=stranger).status_code == 404
    assert api.get(f"/v1/checkpoints/{made}/files/README.md", headers=stranger).status_code == 404
    assert api.get(f"/v1/checkpoints/{made}", headers=key("feedback:write", project="acme")).status_code == 403
