"""Artifacts in a folder and in a bucket: complete or absent, and errors that state a remedy."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from app import artifacts, services, settings
from app.errors import NotFound, Unavailable
from tests.file_limits import files_no_larger_than
from tests.services.bucket import BUCKET, bucket, bucket_server

NOBODY = "0" * 64


@pytest.fixture(scope="module")
def s3() -> Iterator[Mapping[str, str]]:
    with bucket_server() as environment:
        yield environment


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a store that has not been created yet."""
    monkeypatch.setenv("THUMBWHEEL_ARTIFACTS_URL", str(tmp_path / "store"))
    settings.current.cache_clear()
    yield tmp_path / "store"
    settings.current.cache_clear()


@pytest.fixture
def in_bucket(s3: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The bucket of a store, which is emptied after the test."""
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    settings.current.cache_clear()
    found = bucket()
    yield found
    if found.exists(BUCKET):
        found.rm(BUCKET, recursive=True)
    settings.current.cache_clear()


@pytest.fixture(params=["folder", "in_bucket"])
def store(request: pytest.FixtureRequest) -> str:
    request.getfixturevalue(request.param)
    return request.param


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / "file"
        path.write_bytes(content)
        return path

    return write


def tamper(sha256: str, content: bytes) -> None:
    """Replaces the bytes of a stored file."""
    path = artifacts.path_of(sha256)
    if path.startswith(f"{BUCKET}/"):
        bucket().pipe_file(path, content)
    else:
        Path(path).write_bytes(content)


@contextmanager
def policy_that_denies(s3: Any, *actions: str) -> Iterator[None]:
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": list(actions),
        "Resource": f"arn:aws:s3:::{BUCKET}/*",
    }
    s3.call_s3("put_bucket_policy", Bucket=BUCKET, Policy=json.dumps({"Statement": [statement]}))
    try:
        yield
    finally:
        s3.call_s3("delete_bucket_policy", Bucket=BUCKET)


@pytest.mark.usefixtures("store")
def test_all_files_are_listed_with_their_size_and_the_time_when_they_were_stored(file):
    began = datetime.now(UTC) - timedelta(seconds=2)  # a bucket's times are whole seconds
    stored = [artifacts.put(file(content)) for content in (b"one", b"two and more")]

    found = sorted(artifacts.stored(), key=lambda one: one.size)

    assert [(one.sha256, one.size) for one in found] == [(one.sha256, one.size) for one in stored]
    assert all(began <= one.touched <= datetime.now(UTC) for one in found)


@pytest.mark.usefixtures("store")
def test_what_is_put_is_fetched_streamed_and_deleted_and_each_may_be_done_again(file, tmp_path):
    content = b"rows" * 5_000_000  # larger than one part of an upload
    put = artifacts.put(file(content))

    assert artifacts.put(file(content)) == put
    artifacts.fetch(put.sha256, tmp_path / "back" / "again")
    assert (tmp_path / "back" / "again").read_bytes() == content
    with artifacts.open_stream(put.sha256) as stream:
        assert stream.read() == content

    artifacts.delete(put.sha256)
    artifacts.delete(put.sha256)
    with pytest.raises(NotFound, match="has no file"):
        artifacts.fetch(put.sha256, tmp_path / "none")
    with pytest.raises(NotFound, match="has no file"):
        artifacts.open_stream(put.sha256)
    assert not (tmp_path / "none").exists()


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("found", [b"row", b"bows", b""], ids=["truncated", "other bytes", "empty"])
def test_a_file_with_another_content_than_its_name_says_is_not_fetched_and_leaves_nothing(file, tmp_path, found):
    sha256 = artifacts.put(file(b"rows")).sha256
    tamper(sha256, found)

    with pytest.raises(artifacts.DamagedArtifact, match="restore it from a backup"):
        artifacts.fetch(sha256, tmp_path / "back" / "file")

    assert list((tmp_path / "back").iterdir()) == []


@pytest.mark.usefixtures("store")
def test_a_truncated_file_is_whole_again_once_it_is_put_again(file, tmp_path):
    sha256 = artifacts.put(file(b"rows")).sha256
    tamper(sha256, b"ro")

    artifacts.put(file(b"rows"))

    artifacts.fetch(sha256, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"rows"


def test_a_full_disk_takes_no_half_of_a_file_and_is_named_with_its_remedy(folder, file):
    source = file(b"x" * 100_000)

    with files_no_larger_than(50_000), pytest.raises(artifacts.StoreUnusable, match="free some space there"):
        artifacts.put(source)

    assert [path for path in folder.rglob("*") if path.is_file()] == []
    assert artifacts.put(source).size == 100_000


def test_a_full_disk_here_is_no_fault_of_the_store(in_bucket, file, tmp_path):
    sha256 = artifacts.put(file(b"x" * 100_000)).sha256

    with files_no_larger_than(50_000), pytest.raises(OSError, match="File too large"):
        artifacts.fetch(sha256, tmp_path / "back" / "file")

    assert list((tmp_path / "back").iterdir()) == []


def test_what_a_killed_put_left_aside_is_gone_after_the_next_one_a_day_later(folder, file):
    artifacts.put(file(b"before"))
    left = folder / "aside" / "left"
    fresh = folder / "aside" / "fresh"
    for path in (left, fresh):
        path.write_text("half of somebody's words")
    os.utime(left, (0, 0))

    artifacts.put(file(b"after"))

    assert list((folder / "aside").iterdir()) == [fresh]


def test_a_folder_that_is_not_there_is_another_thing_than_a_file_that_is_not(folder, tmp_path):
    with pytest.raises(artifacts.StoreUnusable, match="is its disk mounted"):
        artifacts.fetch(NOBODY, tmp_path / "back")


def test_a_bucket_that_is_missing_is_named(in_bucket, file, tmp_path):
    in_bucket.rm(BUCKET, recursive=True)

    for call in (
        lambda: artifacts.put(file(b"rows")),
        lambda: artifacts.fetch(NOBODY, tmp_path / "back"),
        lambda: artifacts.open_stream(NOBODY),
        lambda: artifacts.delete(NOBODY),
        artifacts.try_out,
    ):
        with pytest.raises(artifacts.StoreUnusable, match=f"bucket {BUCKET} does not exist: make it"):
            call()


def test_a_bucket_that_allows_nothing_says_so_and_which_rights_are_needed(in_bucket, file, tmp_path):
    sha256 = artifacts.put(file(b"rows")).sha256

    with policy_that_denies(in_bucket, "s3:PutObject", "s3:GetObject"):
        with pytest.raises(artifacts.StoreUnusable, match="the right to list, read, write and delete"):
            artifacts.put(file(b"other rows"))
        with pytest.raises(artifacts.StoreUnusable, match="the right to list, read, write and delete"):
            artifacts.fetch(sha256, tmp_path / "back")

    artifacts.fetch(sha256, tmp_path / "back")


def test_a_server_that_does_not_answer_may_answer_later(in_bucket, file, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{services.free_port()}")
    monkeypatch.setenv("THUMBWHEEL_ARTIFACTS_URL", f"s3://{BUCKET}/elsewhere")
    settings.current.cache_clear()
    in_bucket.clear_instance_cache()

    for call in (
        lambda: artifacts.put(file(b"rows")),
        lambda: artifacts.fetch(NOBODY, tmp_path / "back"),
        lambda: artifacts.open_stream(NOBODY),
        lambda: artifacts.delete(NOBODY),
    ):
        with pytest.raises(Unavailable, match="AWS_ENDPOINT_URL") as caught:
            call()
        assert not isinstance(caught.value, artifacts.StoreUnusable | artifacts.DamagedArtifact)
    in_bucket.clear_instance_cache()


@pytest.mark.parametrize(
    ("url", "said"), [("gs://bucket/x", "its library is not installed"), ("nothing://x", "names no store")]
)
def test_a_store_that_nobody_knows_is_an_error_of_the_setting(file, monkeypatch, url, said):
    monkeypatch.setenv("THUMBWHEEL_ARTIFACTS_URL", url)
    settings.current.cache_clear()

    with pytest.raises(artifacts.StoreUnusable, match=f"THUMBWHEEL_ARTIFACTS_URL.*{said}"):
        artifacts.put(file(b"rows"))

    settings.current.cache_clear()


def test_an_upload_is_in_the_store_once_it_is_whole_and_can_be_dropped_before_and_after(store, tmp_path):
    content = b"rows" * 3_000_000  # more than one part of a bucket's upload
    whole, broken, dropped = uuid4(), uuid4(), uuid4()
    for upload_id in (whole, broken, dropped):
        upload = artifacts.Upload(upload_id)
        upload.write(content)
        if upload_id == broken:
            upload.discard()
        else:
            upload.keep()
        if upload_id == dropped:
            upload.discard()

    assert {name: size for name, (size, _) in artifacts.kept_uploads().items()} == {str(whole): len(content)}
    with artifacts.local_upload(whole, tmp_path) as path:
        assert path.read_bytes() == content
    artifacts.delete_upload(whole)
    artifacts.delete_upload(whole)
    assert artifacts.kept_uploads() == {}
    with pytest.raises(NotFound, match=f"no upload {whole}"), artifacts.local_upload(whole, tmp_path):
        pass
