"""Bodies of requests, read while they come in: JSON, or JSON lines; compressed or not; never more than is allowed."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import from_json
from thumbwheel import wire

from app.errors import Fault, Invalid, TooLarge
from app.feedback import signals
from app.web import MAX_BODY_BYTES, TOO_LARGE

MAX_BATCH = 5000
#: Items that are read before others get their turn.
TURN = 32
#: Arrays up to this length are read in one go: it takes half the time. Longer ones would keep others waiting.
AT_ONCE_BYTES = 256 * 1024
_EVENTS = TypeAdapter(Annotated[list[wire.Event], Field(max_length=MAX_BATCH)])

#: An event, or the fault of an item with the id that it carries.
Item = wire.Event | tuple[list[Fault], str | None]


async def events_in(chunks: AsyncIterator[bytes], *, lines: bool) -> list[Item]:
    """The items of a batch, in their order. Raises `Invalid` where it is no batch at all, `TooLarge`."""
    return await (_lines(chunks) if lines else _array(chunks))


async def plain(chunks: AsyncIterator[bytes], encoding: str) -> AsyncIterator[bytes]:
    """The chunks decompressed. Raises `Invalid` where they are not what `encoding` says, `TooLarge`."""
    if encoding != "gzip":
        async for chunk in chunks:
            yield chunk
        return
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


async def _array(chunks: AsyncIterator[bytes]) -> list[Item]:
    body = b"".join([chunk async for chunk in chunks])
    if len(body) <= AT_ONCE_BYTES:
        try:
            return list(_EVENTS.validate_json(body))
        except ValidationError:
            pass  # item by item it can be said what is wrong
    found = _items(_values(body))
    items: list[Item] = []
    for number, item in enumerate(found):
        if number % TURN == TURN - 1:
            await asyncio.sleep(0)
        items.append(_item(signals.parse(wire.Event, item), item))
    return items


def _values(body: bytes) -> Any:
    try:
        return from_json(body)
    except ValueError:
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


async def _lines(chunks: AsyncIterator[bytes]) -> list[Item]:
    items: list[Item] = []
    async for line in _split(chunks):
        if not line.strip():
            continue
        if len(items) == MAX_BATCH:
            raise _too_many("/")
        items.append(_line(line))
        if len(items) % TURN == 0:
            await asyncio.sleep(0)
    return items


def _line(line: bytes) -> Item:
    try:
        read = signals.read(wire.Event, line)
        return read if isinstance(read, wire.Event) else _item(read, signals.decoded(line))
    except ValueError as error:
        return [Fault("", f"is no JSON ({error})")], None


def _item(parsed: wire.Event | list[Fault], item: Any) -> Item:
    return parsed if isinstance(parsed, wire.Event) else (parsed, signals.given_id(item))


async def _split(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Lines as they come in; the last one may lack its end."""
    begun: list[bytes] = []
    async for chunk in chunks:
        for piece in _pieces(chunk):
            begun.append(piece)
            if piece.endswith(b"\n"):
                yield b"".join(begun)
                begun = []
    if begun:
        yield b"".join(begun)


def _pieces(chunk: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(chunk):
        end = chunk.find(b"\n", start) + 1 or len(chunk)
        yield chunk[start:end]
        start = end


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
