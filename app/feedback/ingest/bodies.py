"""Reads the bodies of requests, JSON or JSON lines, compressed or not, within the limits on their size."""

import io
import zlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, NoReturn

import msgspec

from app.errors import Fault, Faults, Invalid, TooLarge, brief, pointer_part
from app.feedback import signals
from app.feedback.ingest.entries import IngestEntry
from app.feedback.ingest.kinds import EVENTS, FAULTY_WEIGHT, Kind
from app.web import json_limits
from app.web.bodies import MAX_BATCH_BYTES, MAX_BODY_BYTES, MIB, require_decodable, too_large

MAX_BATCH = 5000
#: Empty lines are skipped, but 16 MiB of them would delay other requests.
MAX_LINES = 2 * MAX_BATCH
#: A gzip file may hold several members: enough for a writer that compresses parts, not one per byte.
MAX_MEMBERS = 100
#: Bytes decompressed at once.
STEP_BYTES = 256 * 1024
#: A batch with more commas than this is counted before it is split into its items.
FEW_COMMAS = 300_000
#: A row for the log, or the faults of an item with its id.
Item = IngestEntry | tuple[Faults, str | None]


class _Events(msgspec.Struct, forbid_unknown_fields=True):
    events: list[msgspec.Raw]


class _Completions(msgspec.Struct, forbid_unknown_fields=True):
    completions: list[msgspec.Raw]


_ARRAYS: dict[str, msgspec.json.Decoder[Any]] = {
    "events": msgspec.json.Decoder(list[msgspec.Raw] | _Events),
    "completions": msgspec.json.Decoder(list[msgspec.Raw] | _Completions),
}
_RAW = msgspec.json.Decoder(msgspec.Raw)


async def whole(chunks: AsyncIterator[bytes], encoding: str) -> bytes:
    """Returns the decompressed body. Raises `Invalid` if it does not match `encoding`, and `TooLarge`."""
    body = io.BytesIO()  # getvalue() does not copy
    async for piece in chunks if encoding != "gzip" else _decompressed(chunks):
        body.write(piece)
    return body.getvalue()


def split(body: bytes, *, lines: bool, kind: Kind = EVENTS) -> Sequence[Any]:
    """Splits a batch into items for `BatchReader.read`. Raises `Invalid` if it is not a batch or is too long."""
    if not lines:
        return _split_array(body, kind.plural)
    if body.count(b"\n") > MAX_LINES:  # before they become a list
        raise _too_many("/", kind.plural)
    items = [line for line in body.split(b"\n") if not line.isspace() and line]
    if len(items) > MAX_BATCH:
        raise _too_many("/", kind.plural)
    return items


class BatchReader:
    """Reads the items of one batch.

    Items of an unusual shape take many times as long as the others, and faulty ones longest, so a batch has a budget
    for them. Once it is spent, such items are refused unread.
    """

    def __init__(self, project: str, kind: Kind) -> None:
        self._project = project
        self._kind = kind
        self._left = kind.unusual_values

    def read(self, item: bytes | msgspec.Raw) -> Item:
        """Returns a row for the log, or the faults of the item."""
        body, kind = bytes(item), self._kind
        if len(body) > kind.most_bytes:
            return _fault(f"is larger than {kind.most_bytes // MIB} MiB: shorten what it holds"), None
        entry = None if kind.quick is None else kind.quick(self._project, body)
        if entry is not None:
            return entry
        if self._left <= 0:
            shape = "faulty items" if kind.quick is None else "items of an unusual shape"
            return _fault(f"was not read, since the batch holds too many {shape}: send it in a smaller batch"), None
        result = self._parsed(body)
        valid = isinstance(result, IngestEntry)
        if not valid or kind.quick is not None:
            values = 1 + body.count(b",") + body.count(b"[") + body.count(b"{")
            self._left -= values if valid else FAULTY_WEIGHT * values
        return result

    def _parsed(self, body: bytes) -> Item:
        kind = self._kind
        reason = json_limits.reason_to_refuse(body, kind.most_values)
        if reason is not None:
            return _fault(reason), None
        try:
            read = signals.read(kind.model, body)
            if isinstance(read, Faults):
                return read, signals.given_id(signals.decoded(body), kind.id_name)
        except ValueError as error:
            return _fault(f"is not valid JSON ({error})"), None
        return kind.entry(self._project, read)


def _fault(message: str) -> Faults:
    return Faults([Fault("", message)], 1)


async def _decompressed(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    stream, size, members = zlib.decompressobj(wbits=31), 0, 1
    async for chunk in chunks:
        rest = chunk
        while rest:
            if stream.eof:
                stream, members = zlib.decompressobj(wbits=31), members + 1
                if members > MAX_MEMBERS:
                    raise _no_gzip(f"holds more than {MAX_MEMBERS} gzip members: compress it as one")
            try:
                piece = stream.decompress(rest, STEP_BYTES)
            except zlib.error as error:
                raise _no_gzip("is not whole gzip: compress it again, or leave out Content-Encoding") from error
            size += len(piece)
            if size > MAX_BATCH_BYTES:
                raise TooLarge(too_large(MAX_BATCH_BYTES), code="too_large")
            yield piece
            rest = stream.unconsumed_tail or stream.unused_data
    if not stream.eof:
        raise _no_gzip("is not whole gzip: compress it again, or leave out Content-Encoding")


def _split_array(body: bytes, name: str) -> Sequence[Any]:
    """Returns the items as JSON text. Raises `Invalid` if the body is not valid JSON, even if only one item is not."""
    if body.count(b",") <= FEW_COMMAS:
        try:
            decoded = _ARRAYS[name].decode(body)
        except (ValueError, RecursionError):  # a number, a text or a depth that only a slower reader accepts
            pass
        else:
            listed: list[msgspec.Raw] = decoded if isinstance(decoded, list) else getattr(decoded, name)
            if len(listed) > MAX_BATCH:
                raise _too_many("/" if isinstance(decoded, list) else f"/{name}", name)
            return listed
    try:
        items = json_limits.items_of(body, MAX_BATCH, name)
    except json_limits.TooMuchError as error:
        raise _too_many("/" if body.lstrip()[:1] == b"[" else f"/{name}", name, str(error)) from error
    except ValueError:
        require_decodable(body)
        _refuse(_values(body), name)
    for item in items:
        _require_json(item)
    return items


def _require_json(item: bytes) -> None:
    """Raises `Invalid` for an item that is not valid JSON. An item too large or too deep is refused alone, later."""
    try:
        _RAW.decode(item)
    except (ValueError, RecursionError):
        if len(item) <= MAX_BODY_BYTES and json_limits.reason_to_refuse(item) is None:
            _values(item)


def _values(body: bytes) -> Any:
    try:
        return signals.decoded(body)
    except ValueError as error:
        raise Invalid(
            f"The body is not valid JSON: {error}.", code="invalid_json", faults=[Fault("/", "is not valid JSON")]
        ) from error


def _refuse(body: Any, name: str) -> NoReturn:
    """Raises `Invalid` for a JSON value that is not a batch."""
    if isinstance(body, dict):
        wrong = sorted(body.keys() - {name})
        if wrong:
            raise _no_batch(f"/{brief(pointer_part(wrong[0]))}", "is not a known field", name)
        raise _no_batch(f"/{name}", "is not an array" if name in body else "is missing", name)
    raise _no_batch("/", "is not an array", name)


def _no_gzip(message: str) -> Invalid:
    return Invalid(f"The body {message}.", code="invalid_gzip", faults=[Fault("/", message)])


def _no_batch(pointer: str, message: str, name: str) -> Invalid:
    return Invalid(
        f"{pointer} {message}: send an array of {name}, an object with `{name}`, or one per line.",
        code="invalid_request",
        faults=[Fault(pointer, message)],
    )


def _too_many(pointer: str, name: str, message: str | None = None) -> Invalid:
    held = message or f"holds more than {MAX_BATCH} {name}"
    return Invalid(
        f"A batch holds {MAX_BATCH} {name} at most, and this one {held}: send it in several.",
        code="invalid_request",
        faults=[Fault(pointer, held)],
    )
