"""Bodies of requests: JSON, or JSON lines; compressed or not; never more than is allowed."""

import zlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from thumbwheel import wire

from app.errors import Fault, Invalid, TooLarge
from app.feedback import signals
from app.feedback.intake import Entry, event_entry, quick_entry
from app.web import MAX_BODY_BYTES, TOO_LARGE

MAX_BATCH = 5000
#: Empty lines are passed over; 16 MiB of them would keep others waiting.
MAX_LINES = 2 * MAX_BATCH
#: A row for the log, or the faults of an item with the id that it carries.
Item = Entry | tuple[list[Fault], str | None]


class _Object(msgspec.Struct, forbid_unknown_fields=True):
    events: list[msgspec.Raw]


_ARRAY: msgspec.json.Decoder[list[msgspec.Raw] | _Object] = msgspec.json.Decoder(list[msgspec.Raw] | _Object)


async def whole(chunks: AsyncIterator[bytes], encoding: str) -> bytes:
    """The body, decompressed. Raises `Invalid` where it is not what `encoding` says, `TooLarge`."""
    if encoding != "gzip":
        return b"".join([chunk async for chunk in chunks])
    return b"".join([piece async for piece in _decompressed(chunks)])


def split(body: bytes, *, lines: bool) -> Sequence[Any]:
    """The items of a batch, each for `read`. Raises `Invalid` where it is no batch at all, or one too long."""
    if not lines:
        return _split_array(body)
    if body.count(b"\n") > MAX_LINES:  # before a list is made of them
        raise _too_many("/")
    found = [line for line in body.split(b"\n") if not line.isspace() and line]
    if len(found) > MAX_BATCH:
        raise _too_many("/")
    return found


def read(project: str, item: Any) -> Item:
    """One item as a row for the log of `project`, or what is wrong with it."""
    if not isinstance(item, bytes | msgspec.Raw):
        return _parsed(project, item)
    body = bytes(item)
    entry = quick_entry(project, body)
    if entry is not None:
        return entry
    try:
        event = signals.read(wire.Event, body)
        return event_entry(project, event) if isinstance(event, wire.Event) else _faulty(event, signals.decoded(body))
    except ValueError as error:
        return [Fault("", f"is no JSON ({error})")], None


def _parsed(project: str, item: Any) -> Item:
    event = signals.parse(wire.Event, item)
    return event_entry(project, event) if isinstance(event, wire.Event) else _faulty(event, item)


def _faulty(faults: list[Fault], item: Any) -> Item:
    return faults, signals.given_id(item)


async def _decompressed(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    stream, size = zlib.decompressobj(wbits=31), 0
    async for chunk in chunks:
        rest = chunk
        while rest:
            if stream.eof:  # a gzip file may hold several members
                stream = zlib.decompressobj(wbits=31)
            try:
                piece = stream.decompress(rest, MAX_BODY_BYTES + 1 - size)
            except zlib.error as error:
                raise _no_gzip() from error
            size += len(piece)
            if size > MAX_BODY_BYTES:
                raise TooLarge(TOO_LARGE, code="too_large")
            yield piece
            rest = stream.unconsumed_tail or stream.unused_data
    if not stream.eof:
        raise _no_gzip()


def _split_array(body: bytes) -> Sequence[Any]:
    """The items as JSON text; as values where the body holds something that plain JSON does not."""
    try:
        found = _ARRAY.decode(body)
    except ValueError:
        return _items(_values(body))
    events = found if isinstance(found, list) else found.events
    if len(events) > MAX_BATCH:
        raise _too_many("/" if isinstance(found, list) else "/events")
    return events


def _values(body: bytes) -> Any:
    try:
        return signals.decoded(body)
    except ValueError as error:
        raise Invalid(
            f"The body is no JSON: {error}.", code="invalid_json", faults=[Fault("/", "is no JSON")]
        ) from error


def _items(body: Any) -> list[Any]:
    events = body
    if isinstance(body, dict):
        if body.keys() != {"events"}:
            wrong = sorted(body.keys() - {"events"})
            raise _no_batch(f"/{wrong[0]}" if wrong else "/events", "is not known" if wrong else "is missing")
        events = body["events"]
    if not isinstance(events, list):
        raise _no_batch("/events" if isinstance(body, dict) else "/", "is no array")
    if len(events) > MAX_BATCH:
        raise _too_many("/events" if isinstance(body, dict) else "/")
    return events


def _no_gzip() -> Invalid:
    return Invalid(
        "The body is not whole gzip: compress it again, or leave out Content-Encoding.",
        code="invalid_gzip",
        faults=[Fault("/", "is no gzip")],
    )


def _no_batch(pointer: str, message: str) -> Invalid:
    return Invalid(
        f"{pointer} {message}: send an array of events, an object with `events`, or an event a line.",
        code="invalid_request",
        faults=[Fault(pointer, message)],
    )


def _too_many(pointer: str) -> Invalid:
    return Invalid(
        f"A batch holds {MAX_BATCH} events at most: send it in several.",
        code="invalid_request",
        faults=[Fault(pointer, f"holds more than {MAX_BATCH} events")],
    )
