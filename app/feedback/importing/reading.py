"""Reads the items of a source: its container, the shapes of its records, and what they become."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from app.errors import Invalid
from app.feedback.importing import shapes
from app.feedback.importing.containers import SourceRecord, opened
from app.feedback.importing.conversion import RecordConversion
from app.feedback.importing.items import Item
from app.feedback.importing.judgements import Rules, words_of
from app.feedback.importing.own_ids import OwnIds
from app.feedback.importing.shapes import RecordShape
from app.feedback.importing.shapes.table import NAMES, shape_with
from app.feedback.importing.sources import Source, in_file

#: Records after which a file is refused if none of them has a known shape.
FIRST_RECORDS = 20


@dataclass(frozen=True)
class ImportChoices:
    """The user's statements about the files: a shape, names of columns, meanings of values."""

    shape: RecordShape | None = None
    rules: Rules = field(default_factory=Rules)
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass
class SourceReading:
    """The items of a source, which are read once.

    unit      what the numbers of the items count: line, item or row
    progress  the bytes of the source that were read
    """

    unit: str
    items: Iterator[Item]
    progress: Callable[[], int]


def choices(
    shape: str | None = None,
    columns: str | None = None,
    desirable: str | None = None,
    undesirable: str | None = None,
    scale: str | None = None,
) -> ImportChoices:
    """Returns the choices of an import, given as options. Raises `Invalid` with the option's name."""
    rules = Rules(
        desirable=words_of((desirable or "").split(",")),
        undesirable=words_of((undesirable or "").split(",")),
        scale=None if scale is None else _scale(scale),
    )
    if columns is not None:
        if shape not in (None, "table"):
            raise Invalid(f"--map names the columns of a table: leave out --as {shape}.", code="invalid_option")
        mapped = _columns(columns)
        return ImportChoices(shape_with(mapped), rules, mapped)
    if shape is None:
        return ImportChoices(None, rules)
    if shape not in shapes.BY_NAME:
        close = difflib.get_close_matches(shape, shapes.BY_NAME, n=1)
        meant = f"did you mean {close[0]}? " if close else ""
        raise Invalid(
            f"--as: no shape is called {shape!r}: {meant}It is one of {', '.join(sorted(shapes.BY_NAME))}.",
            code="invalid_option",
        )
    return ImportChoices(shapes.BY_NAME[shape], rules)


@contextmanager
def read_source(source: Source, chosen: ImportChoices | None = None) -> Iterator[SourceReading]:
    """Provides the items of a source for the block.

    Raises `Invalid` if the file holds no records of a known shape, cannot be opened, or breaks off.
    """
    chosen = chosen or ImportChoices()
    with source.open() as (content, progress), closing(OwnIds()) as ids:
        container = opened(content, source.name)
        conversion = RecordConversion(ids, chosen.rules, chosen.shape, textual=container.textual)
        first = list(islice(container.records, FIRST_RECORDS))
        _require_known(source.name, first, conversion)
        _require_columns(source.name, first, chosen.columns)
        share = container.fraction
        place = progress if share is None else lambda: int(source.size * share())
        yield SourceReading(container.unit, _items(first, container.records, conversion), place)


def read(path: Path, chosen: ImportChoices | None = None) -> Iterator[Item]:
    """Yields the items of a file, or of all members of an archive.

    Event ids are the source's own, or derived from the content of the records: importing a file again, even with its
    records in another order, stores nothing new.

    Raises `Invalid` if the file holds no records of a known shape, cannot be opened, or breaks off.
    """
    if path.is_dir():
        raise Invalid(f"{path} is a folder: name its files, for example {path}/*.jsonl.", code="file_unreadable")
    for source in in_file(path, str(path)):
        with read_source(source, chosen) as reading:
            yield from reading.items


def _items(first: list[SourceRecord], others: Iterator[SourceRecord], conversion: RecordConversion) -> Iterator[Item]:
    for record in first:
        yield from conversion.items(record)
    for record in others:
        yield from conversion.items(record)
    yield from conversion.rest()


def _require_known(name: str, records: list[SourceRecord], conversion: RecordConversion) -> None:
    """Raises `Invalid` if the first records are objects, and none of them has a known shape."""
    values: list[Any] = [record.value for record in records if isinstance(record.value, dict)]
    if not values or any(map(conversion.recognises, values)):
        return
    fields = ", ".join(dict.fromkeys(str(name) for value in values for name in list(value)[:20]))
    raise Invalid(
        f"{name} has no known shape. Its records have the fields {fields or '(none)'}. Name the columns, for example "
        f"--map prompt=COLUMN,completion=COLUMN,label=COLUMN (fields: {', '.join(NAMES)}), or the shape with --as: "
        f"{', '.join(shape.name for shape in shapes.SHAPES)}.",
        code="file_not_understood",
    )


def _require_columns(name: str, records: list[SourceRecord], columns: Mapping[str, str]) -> None:
    """Raises `Invalid` if none of the first records has a column of `--map`."""
    values: list[dict[str, Any]] = [record.value for record in records if isinstance(record.value, dict)]
    there = {str(field) for value in values for field in value}
    missing = [column for column in columns.values() if column not in there and column.split(".")[0] not in there]
    if values and missing:
        raise Invalid(
            f"--map: the first records of {name} have no column {missing[0]!r}, but {', '.join(sorted(there)[:20])}.",
            code="file_not_understood",
        )


def _columns(text: str) -> dict[str, str]:
    columns: dict[str, str] = {}
    for part in text.split(","):
        name, separator, column = (piece.strip() for piece in part.partition("="))
        if not (name and separator and column):
            raise Invalid(f"--map: expected FIELD=COLUMN, got {part.strip()!r}.", code="invalid_option")
        if name not in NAMES:
            raise Invalid(
                f"--map: no field is called {name!r}: it is one of {', '.join(NAMES)}.", code="invalid_option"
            )
        columns[name] = column
    return columns


def _scale(text: str) -> tuple[float, float]:
    least, separator, most = text.partition(":")
    try:
        ends = float(least), float(most)
    except ValueError:
        ends = (0.0, 0.0)
    if not separator or not ends[0] < ends[1]:
        raise Invalid(f"--scale: expected MIN:MAX, for example 1:10, got {text!r}.", code="invalid_option")
    return ends
