"""Weights are verified when they ship and when they are downloaded: a damaged file is refused, with its name."""

import base64
import hashlib
import threading
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from app import artifacts, settings
from app.artifacts import DamagedArtifact
from app.checkpoints import integrity
from tests.desk import checkpoint, vote
from tests.services.bucket import bucket, bucket_server

PROJECT = {"project": "acme"}
FILE = "adapter_model.safetensors"
WHY = "the incident of today needs it"


@pytest.fixture(scope="module")
def s3():
    """The environment of a server that has an address of its own, and so connections of its own."""
    with bucket_server() as environment:
        S3FileSystem.clear_instance_cache()
        yield environment
        S3FileSystem.clear_instance_cache()


@pytest.fixture(params=["folder", "bucket"])
def store(request, monkeypatch):
    if request.param == "bucket":
        for name, value in request.getfixturevalue("s3").items():
            monkeypatch.setenv(name, value)
        bucket()
    settings.current.cache_clear()
    yield request.param
    monkeypatch.undo()
    settings.current.cache_clear()


@pytest.fixture
def made(api, store, tmp_path):
    """The id of a registered checkpoint, and the sha256 of its one file."""
    rules = {"minimum_per_class": 5, "holdout_share": 0.3}
    assert api.patch("/v1/projects/acme", json={"snapshot": rules}).status_code == 200
    vote(40, project="acme")
    checkpoint_id = checkpoint(tmp_path, "acme")
    [sha256] = api.get(f"/v1/checkpoints/{checkpoint_id}", params=PROJECT).json()["files"].values()
    return str(checkpoint_id), sha256


def content_of(sha256: str) -> bytes:
    with artifacts.open_stream(sha256) as file:
        return file.read()


def replace(sha256: str, content: bytes | None) -> None:
    path = artifacts.path_of(sha256)
    if not artifacts.in_folder():
        _ = bucket().rm_file(path) if content is None else bucket().pipe_file(path, content)
    elif content is None:
        Path(path).unlink()
    else:
        Path(path).write_bytes(content)


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


DAMAGES = [
    pytest.param(flipped, "is damaged", id="a flipped byte"),
    pytest.param(lambda content: content[:-1], "is damaged", id="a truncated file"),
    pytest.param(lambda _: None, "is missing", id="a missing file"),
]


def release(api, **body):
    return api.post("/v1/releases", params=PROJECT, json=body)


def ledger(api):
    return [entry["action"] for entry in api.get("/v1/releases", params=PROJECT).json()["items"]]


@pytest.mark.parametrize(("damage", "says"), DAMAGES)
def test_damaged_weights_do_not_ship_whatever_the_reason_and_ship_once_they_are_restored(api, made, damage, says):
    checkpoint_id, sha256 = made
    whole = content_of(sha256)
    replace(sha256, damage(whole))

    for body in ({}, {"override_reason": WHY}):
        answer = release(api, checkpoint_id=checkpoint_id, **body)
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (409, "weights_damaged"), problem
        assert f"its file {FILE}" in problem["detail"]
        assert says in problem["detail"]
    assert ledger(api) == ["start"]

    replace(sha256, whole)
    assert release(api, checkpoint_id=checkpoint_id).status_code == 201
    assert ledger(api) == ["ship", "start"]


def test_a_rollback_to_damaged_weights_is_refused(api, made, tmp_path):
    checkpoint_id, sha256 = made
    assert release(api, checkpoint_id=checkpoint_id).status_code == 201
    assert release(api, checkpoint_id=str(checkpoint(tmp_path, "acme"))).status_code == 201
    replace(sha256, flipped(content_of(sha256)))

    answer = release(api, rollback=True)

    assert (answer.status_code, answer.json()["code"]) == (409, "weights_damaged")
    assert ledger(api) == ["ship", "ship", "start"]


def test_an_adapter_on_damaged_weights_does_not_ship(api, made, tmp_path):
    weights = checkpoint(tmp_path, "acme", kind="weights")
    assert release(api, checkpoint_id=str(weights)).status_code == 201
    adapter = checkpoint(tmp_path, "acme")
    [sha256] = api.get(f"/v1/checkpoints/{weights}", params=PROJECT).json()["files"].values()
    replace(sha256, flipped(content_of(sha256)))

    answer = release(api, checkpoint_id=str(adapter))

    assert (answer.status_code, answer.json()["code"]) == (409, "weights_damaged")
    assert f"Checkpoint {weights}" in answer.json()["detail"]


def test_where_verifying_takes_long_a_request_gets_503_and_the_repeated_one_succeeds(api, made, monkeypatch):
    # given a verification that waits for a signal
    monkeypatch.setattr(integrity, "WAIT_SECONDS", 0.0)
    go, busy = threading.Event(), threading.Event()
    integrity.VERIFICATIONS._thread.submit(lambda: (busy.set(), go.wait(60)))
    assert busy.wait(60)

    answer = release(api, checkpoint_id=made[0])

    assert (answer.status_code, answer.json()["code"]) == (503, "verifying_weights")
    assert int(answer.headers["Retry-After"]) > 0
    assert ledger(api) == ["start"]
    go.set()
    integrity.VERIFICATIONS._thread.submit(lambda: None).result(60)  # after the verification
    assert release(api, checkpoint_id=made[0]).status_code == 201


def test_a_download_says_how_long_it_is_and_what_its_hash_is(api, made):
    answer = api.get(f"/v1/checkpoints/{made[0]}/files/{FILE}", params=PROJECT)

    digest = base64.b64encode(hashlib.sha256(answer.content).digest()).decode()
    assert answer.headers["Content-Length"] == str(len(answer.content))
    assert answer.headers["ETag"] == f'"{made[1]}"'
    assert answer.headers["Repr-Digest"] == f"sha-256=:{digest}:"


def test_a_damaged_file_is_never_downloaded_whole(api, made):
    replace(made[1], flipped(content_of(made[1])))

    answer = api.get(f"/v1/checkpoints/{made[0]}/files/{FILE}", params=PROJECT)

    assert (answer.status_code, answer.json()["code"]) == (503, "artifact_damaged")
    assert "restore it from a backup" in answer.json()["detail"]


@pytest.mark.parametrize("damage", [flipped, lambda content: content[: len(content) // 2]])
def test_of_a_damaged_file_of_many_chunks_the_last_one_is_held_back(store, tmp_path, damage):
    content = bytes(range(256)) * 10_000  # two chunks and a half
    path = tmp_path / "file"
    path.write_bytes(content)
    sha256 = artifacts.put(path).sha256
    replace(sha256, damage(content))
    got = []

    source = artifacts.open_verified(sha256)
    with source.file, pytest.raises(DamagedArtifact):
        got.extend(source.chunks())

    assert sum(map(len, got)) < source.size
    with pytest.raises(DamagedArtifact):
        artifacts.fetch(sha256, tmp_path / "there" / "file")
    assert list((tmp_path / "there").iterdir()) == []
