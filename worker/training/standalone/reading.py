"""Reads files of rows as records: JSON lines, a JSON list, CSV, parquet; all but parquet also gzipped.

A record carries its file and line, so that an error can name them.
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from worker.training.machine.process import TrainingRefusal

KNOWN = ".jsonl, .json, .csv, .parquet (all but parquet also with .gz)"
#: Columns of a CSV file that hold JSON; all others hold text, or numbers in columns of numbers.
JSON_COLUMNS = ("labels", "spans", "tools")


class Record(NamedTuple):
    place: str  # "data/rows.jsonl line 7"
    name: str  # "rows.jsonl line 7": independent of the file's folder
    fields: Mapping[str, Any]


def read(path: Path) -> Iterator[Record]:
    """Yields the records of `path` in order. Raises `TrainingRefusal` naming file and line if it cannot be read."""
    if not path.exists():
        raise TrainingRefusal("data", f"{path}: there is no such file: name a file of {KNOWN}")
    if path.is_dir():
        raise TrainingRefusal("data", f"{path} is a folder: name its files one by one")
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    reader = {"jsonl": _json, "json": _json, "csv": _csv, "parquet": _parquet}.get(kind)
    if reader is None:
        raise TrainingRefusal("data", f"{path}: no known kind of file: name one of {KNOWN}")
    try:
        yield from reader(path)
    except (OSError, EOFError, zlib.error) as error:
        raise TrainingRefusal("data", f"{path} cannot be read: {_reason(error)}") from None


def _json(path: Path) -> Iterator[Record]:
    """Yields the records of a list of objects, or of one object a line; the first character decides, not the name."""
    with _opened(path) as file:
        begins = b""
        while not begins.strip(b"\xef\xbb\xbf \t\r\n") and (line := file.readline()):
            begins = line
        file.seek(0)
        if not begins.lstrip(b"\xef\xbb\xbf \t").startswith(b"["):
            yield from _json_lines(path, file)
            return
        rows = _decoded(file.read(), str(path))
    for number, row in enumerate(rows, start=1):
        yield _record(path, "item", number, row)


def _json_lines(path: Path, file: IO[bytes]) -> Iterator[Record]:
    for number, line in enumerate(file, start=1):
        if line.strip(b"\xef\xbb\xbf \t\r\n"):
            yield _record(path, "line", number, _decoded(line, f"{path} line {number}"))


def _decoded(content: bytes, place: str) -> Any:
    try:
        return json.loads(content.decode("utf-8-sig"), parse_constant=_no_number)
    except UnicodeDecodeError:
        raise TrainingRefusal("data", f"{place} is not UTF-8: save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        line = f" in line {error.lineno}" if " line " not in place else ""
        raise TrainingRefusal(
            "data", f"{place} is not JSON ({error.msg} at column {error.colno}{line}): correct it"
        ) from None
    except (ValueError, RecursionError) as error:
        raise TrainingRefusal("data", f"{place} is not JSON ({error}): correct it") from None


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _record(path: Path, unit: str, number: int, row: Any) -> Record:
    place = f"{path} {unit} {number}"
    if not isinstance(row, dict):
        raise TrainingRefusal(
            "data", f"{place} is {_kind(row)}, not an object: write one object with named columns a row"
        )
    return Record(place, f"{path.name} {unit} {number}", row)


def _kind(value: Any) -> str:
    return {list: "a list", str: "a text", bool: "true or false", type(None): "null"}.get(type(value), "a number")


def _csv(path: Path) -> Iterator[Record]:
    csv.field_size_limit(2**31 - 1)
    try:
        with _opened(path) as raw, io.TextIOWrapper(raw, "utf-8-sig", newline="") as file:
            lines = csv.reader(file, strict=True)
            header = next(lines, [])
            if len(set(header)) < len(header):
                raise TrainingRefusal("data", f"{path} line 1: two columns have the same name: {', '.join(header)}")
            for cells in lines:
                place = f"{path} line {lines.line_num}"
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise TrainingRefusal(
                        "data", f"{place} has {len(cells)} cells, the header has {len(header)}: put texts in quotes"
                    )
                fields = {name: _cell(name, cell, place) for name, cell in zip(header, cells, strict=True)}
                yield _record(path, "line", lines.line_num, fields)
    except UnicodeDecodeError:
        raise TrainingRefusal("data", f"{path} is not UTF-8: save the file as UTF-8") from None
    except csv.Error as error:
        raise TrainingRefusal("data", f"{path} line {lines.line_num} is not valid CSV ({error}): correct it") from None


def _cell(name: str, cell: str, place: str) -> Any:
    if (name in (*JSON_COLUMNS, "weight", "label") or name.startswith("votes_")) and not cell.strip():
        return None
    if name in JSON_COLUMNS:
        return _decoded(cell.encode(), f"{place} {name}")
    if name == "label" and cell.strip() in ("0", "1"):
        return int(cell)
    if name == "weight" or name.startswith("votes_"):
        try:
            return float(cell)
        except ValueError:
            pass  # refused later, like any weight that is not a number
    return cell


def _parquet(path: Path) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        number = 0
        for batch in pq.ParquetFile(path).iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                number += 1
                yield _record(path, "row", number, row)
    except pa.ArrowException as error:
        raise TrainingRefusal("data", f"{path} is not a readable parquet file: {_reason(error)}") from None


def _opened(path: Path) -> IO[bytes]:
    """Opens a file that may be gzipped; its content decides, not its name."""
    with path.open("rb") as probe:
        zipped = probe.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path, "rb")) if zipped else path.open("rb")


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).splitlines() or [type(error).__name__])[0]
