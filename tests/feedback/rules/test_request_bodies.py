"""Compressed bodies: complete gzip data with few members, in chunks of any size, up to the limits."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator

import pytest

from app.errors import Invalid, TooLarge
from app.feedback.ingest.bodies import MAX_LINES, MAX_MEMBERS, BatchReader, split, whole
from app.feedback.ingest.kinds import EVENTS
from app.web.bodies import MAX_BATCH_BYTES, MAX_BODY_BYTES

TEXT = b'[{"completion_id": "c"}]'


def read(body: bytes, encoding: str = "gzip", step: int = 65_536) -> bytes:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), step):
            yield body[start : start + step]

    return asyncio.run(whole(chunks(), encoding))


@pytest.mark.parametrize("step", [1, 7, 65_536])
def test_gzip_of_one_and_of_several_members_is_read_in_any_chunks(step: int) -> None:
    assert read(gzip.compress(TEXT), step=step) == TEXT
    assert read(gzip.compress(TEXT[:9]) + gzip.compress(b"") + gzip.compress(TEXT[9:]), step=step) == TEXT
    assert read(TEXT, "identity", step) == TEXT


def test_as_many_members_as_allowed_are_read_and_not_one_more() -> None:
    assert read(gzip.compress(b"x") * MAX_MEMBERS) == b"x" * MAX_MEMBERS
    with pytest.raises(Invalid, match="more than 100 gzip members: compress it as one") as refusal:
        read(gzip.compress(b"x") * (MAX_MEMBERS + 1))
    assert refusal.value.code == "invalid_gzip"


@pytest.mark.parametrize(
    "body",
    [
        b"", TEXT, gzip.compress(TEXT)[:-1], gzip.compress(TEXT)[:9], gzip.compress(TEXT) + b"rest",
        gzip.compress(TEXT) + gzip.compress(TEXT)[:12], zlib.compress(TEXT),
        gzip.compress(TEXT)[:-8] + bytes(8),
    ],
    ids=["empty", "plain", "no end", "header alone", "rest", "half a member", "zlib", "wrong checksum"],
)  # fmt: skip
def test_what_is_not_whole_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid, match="is not whole gzip") as refusal:
        read(body)

    assert refusal.value.code == "invalid_gzip"


def test_a_body_is_not_inflated_beyond_what_a_batch_may_have() -> None:
    assert len(read(gzip.compress(bytes(MAX_BATCH_BYTES), 1))) == MAX_BATCH_BYTES
    with pytest.raises(TooLarge, match="larger than 16 MiB"):
        read(gzip.compress(bytes(MAX_BATCH_BYTES + 1), 1))


def test_empty_lines_are_passed_over_up_to_a_limit() -> None:
    assert list(split(b"\n" * (MAX_LINES - 1) + b"{}\n", lines=True)) == [b"{}"]
    with pytest.raises(Invalid, match="A batch holds 5000 events at most"):
        split(b"\n" * (MAX_LINES + 1), lines=True)


def test_an_item_as_large_as_an_event_may_be_is_looked_at_and_a_larger_one_is_not() -> None:
    head, tail = b'{"completion_id": "', b'"}'
    fits = head + b"x" * (MAX_BODY_BYTES - len(head + tail)) + tail

    looked_at, _ = BatchReader("p", EVENTS).read(fits)
    refused, _ = BatchReader("p", EVENTS).read(fits.replace(b'"}', b'x"}'))

    assert "is larger than 1 MiB" not in str(list(looked_at))
    assert "is larger than 1 MiB: shorten what it holds" in str(list(refused))
