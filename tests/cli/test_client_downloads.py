"""Downloads of the client: a file is whole and verified under its name, or absent."""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import pytest
from thumbwheel import Client, Damaged, Unreachable

CONTENT = bytes(range(256)) * 20_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "adapter_model.safetensors"
#: A function that writes an answer to the request for the file.
Serve = Callable[[BaseHTTPRequestHandler, int], None]


def checkpoint() -> bytes:
    document = {
        "id": str(uuid4()), "project": "acme", "kind": "adapter", "base_model": "/m",
        "created_at": "2026-11-01T00:00:00Z",
        "run_id": None, "parent_id": None, "stands_on_id": None, "verdict": "passed", "reasons": [],
        "weights_sha256": None, "files": {NAME: SHA256}, "scores": {}, "live": False,
    }  # fmt: skip
    return json.dumps(document).encode()


def answer(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content_Length": str(len(body)), "Connection": "close", **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    with suppress(ConnectionError):  # the client may have closed the connection
        handler.wfile.write(body)


def cut(handler: BaseHTTPRequestHandler, start: int, sent: int) -> None:
    """Announces all remaining bytes and closes the connection after `sent` of them."""
    status = 206 if start else 200
    headers = {"Content_Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"} if start else {}
    answer(handler, CONTENT[start : start + sent], status, Content_Length=str(len(CONTENT) - start), **headers)


@contextmanager
def serving(*serves: Serve) -> Iterator[tuple[str, list[int]]]:
    """Serves the file with these answers in turn and repeats the last one. Yields the URL and a list of the first byte
    that each request asks for."""
    left, starts = list(serves), list[int]()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.close_connection = True
            if "/files/" not in self.path:
                answer(self, checkpoint())
                return
            byte_range = re.match(r"bytes=(\d+)-$", self.headers.get("Range", ""))
            starts.append(int(byte_range[1]) if byte_range else 0)
            (left.pop(0) if len(left) > 1 else left[0])(self, starts[-1])

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", starts
        finally:
            server.shutdown()
            thread.join()


def whole(handler: BaseHTTPRequestHandler, _start: int) -> None:
    answer(handler, CONTENT)


def pull(url, folder, tries: int = 5) -> None:
    with Client(url, tries=tries, sleep=lambda _seconds: None) as client:
        client.checkpoints.pull(uuid4(), folder)


def test_a_broken_download_is_resumed_where_it_broke(tmp_path):
    # There are more breaks than attempts, but each attempt gained some bytes.
    steps = [lambda handler, start: cut(handler, start, 1_500_000)] * 3
    with serving(*steps, lambda handler, start: cut(handler, start, len(CONTENT))) as (url, starts):
        pull(url, tmp_path, tries=2)

    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert len(starts) == 4
    assert starts[0] == 0
    assert starts == sorted(set(starts))


def test_a_server_without_ranges_sends_the_whole_file_again(tmp_path):
    with serving(lambda handler, _start: cut(handler, 0, 2_000_000), whole) as (url, starts):
        pull(url, tmp_path)

    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert len(starts) == 2


def test_an_impossible_or_another_range_begins_the_file_again(tmp_path):
    def no_range(handler: BaseHTTPRequestHandler, _start: int) -> None:
        answer(handler, b"", 416)

    def other_range(handler: BaseHTTPRequestHandler, _start: int) -> None:
        answer(handler, CONTENT[:10], 206, Content_Range=f"bytes 0-9/{len(CONTENT)}")

    for wrong in (no_range, other_range):
        folder = tmp_path / wrong.__name__
        with serving(lambda handler, _start: cut(handler, 0, 2_000_000), wrong, whole) as (url, starts):
            pull(url, folder)

        assert (folder / NAME).read_bytes() == CONTENT
        assert starts[-1] == 0


def flipped(handler: BaseHTTPRequestHandler, _start: int) -> None:
    answer(handler, CONTENT[:-1] + b"!")


def other_etag(handler: BaseHTTPRequestHandler, _start: int) -> None:
    answer(handler, CONTENT, ETag=f'"{"0" * 64}"')


def shorter(handler: BaseHTTPRequestHandler, _start: int) -> None:
    answer(handler, CONTENT[:100])


@pytest.mark.parametrize("serve", [flipped, other_etag, shorter])
def test_content_that_was_not_registered_leaves_nothing_and_is_not_repeated(tmp_path, serve):
    with serving(serve) as (url, starts), pytest.raises(Damaged, match=NAME):
        pull(url, tmp_path)

    assert list(tmp_path.iterdir()) == []
    assert len(starts) == 1


def test_a_download_that_never_ends_leaves_nothing_and_keeps_what_was_there(tmp_path):
    (tmp_path / NAME).write_bytes(b"an older one")
    with (
        serving(lambda handler, _start: cut(handler, 0, 1000)) as (url, starts),
        pytest.raises(Unreachable, match="Tried 3 times"),
    ):
        pull(url, tmp_path, tries=3)

    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"an older one"]
    assert len(starts) == 6  # the first three attempts gained 1,000 bytes, the later ones none


def test_a_file_that_is_there_whole_is_not_downloaded(tmp_path):
    (tmp_path / NAME).write_bytes(CONTENT)
    with serving(whole) as (url, starts):
        pull(url, tmp_path)

    assert starts == []
