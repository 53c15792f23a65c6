"""Files of the log's rows: written page by page and resumed where they end, and read back in the order of the log."""

import heapq
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from thumbwheel import wire

from app.cli.exports.folder import ExportFormat
from app.durable import flush
from app.errors import Invalid

if TYPE_CHECKING:
    from thumbwheel import Client

CHUNK = 1 << 20


class LogLine(NamedTuple):
    """A row of a log as JSON text, without the end of the line."""

    position: int
    text: bytes


class _Position(msgspec.Struct):
    position: int


_POSITION = msgspec.json.Decoder(_Position)


def write_lines(client: "Client", kind: wire.LogKind, path: Path, until: int, advance: Callable[[int], None]) -> None:
    """Writes the rows up to the watermark `until` to `path` as JSON lines, after those of an interrupted attempt. Calls
    `advance` with the number of positions that each page goes further.
    """
    if path.exists():
        advance(until)
        return
    with partial(path).open("ab+") as file:
        after = _resume(file.fileno())
        advance(after)
        while page := client.log.page(kind, after=after, until=until):
            file.write(page)
            last = position_of(page[page.rfind(b"\n", 0, -1) + 1 :])
            advance(last - after)
            after = last
        advance(until - after)
    finish(path)


def partial(path: Path) -> Path:
    """Returns the path of a file until it is complete."""
    return path.with_name(path.name + ".partial")


def finish(path: Path) -> None:
    """Gives a complete file its name, durably."""
    flush(partial(path))
    partial(path).replace(path)


def lines_of(path: Path, kind: str, form: ExportFormat) -> Iterator[LogLine]:
    """Yields the rows in a file of an export, in the order of the log. Raises `Invalid` for a line that is none."""
    if form is ExportFormat.parquet:
        from app.cli.exports.parquet import lines_in

        lines = lines_in(path, kind)
    else:
        lines = _lines_in(path)
    for number, text in enumerate(lines, 1):
        try:
            yield LogLine(position_of(text), text)
        except msgspec.DecodeError as error:
            raise Invalid(f"{path}, line {number}: not a row of a log ({error}).", code="export_damaged") from error


def merged(*files: Iterator[LogLine]) -> Iterator[LogLine]:
    """Yields the rows of several files of one log in its order."""
    yield from heapq.merge(*files, key=lambda line: line.position)


def position_of(line: bytes) -> int:
    return _POSITION.decode(line).position


def _lines_in(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for line in file:
            yield line.rstrip(b"\n")


def _resume(descriptor: int) -> int:
    """Cuts off what an interrupted attempt wrote after the last whole line; returns the position of that line, or 0."""
    size = os.fstat(descriptor).st_size
    tail = b""
    start = size
    while start > 0 and tail.count(b"\n") < 2:
        begin = max(0, start - CHUNK)
        tail = os.pread(descriptor, start - begin, begin) + tail
        start = begin
    end = tail.rfind(b"\n") + 1
    os.ftruncate(descriptor, size - len(tail) + end)
    return position_of(tail[tail.rfind(b"\n", 0, end - 1) + 1 : end]) if end else 0
