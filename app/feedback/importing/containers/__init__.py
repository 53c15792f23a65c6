"""Containers of records, from bytes to values with a place: recognised by their first bytes, read bit by bit."""

from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from app.errors import Invalid
from app.feedback.importing.containers import json_documents, json_lines, parquet, recognition, tables
from app.feedback.importing.containers.records import SourceRecord


class Opened(NamedTuple):
    """The records of a file.

    unit      what their numbers count: line, item or row
    textual   whether all values are texts, as in a CSV file
    fraction  the share that was read; None if the place in the file tells it
    """

    unit: str
    records: Iterator[SourceRecord]
    textual: bool = False
    fraction: Callable[[], float] | None = None


def opened(file: BinaryIO, name: str) -> Opened:
    """Recognises the container of a file. Raises `Invalid` if it holds no records, with the remedy."""
    head = file.read(recognition.HEAD)
    file.seek(0)
    container = recognition.container_of(head)
    if isinstance(container, str):
        raise Invalid(f"{name} {container}", code="file_not_understood")
    if container.kind == "json_document":
        return Opened(json_documents.UNIT, json_documents.records(file))
    if container.kind == "parquet":
        rows = parquet.ParquetRows(file, name)
        return Opened(parquet.UNIT, iter(rows), fraction=rows.fraction)
    if container.kind == "table":
        return Opened(tables.UNIT, tables.records(file, container.encoding, container.delimiter), textual=True)
    return Opened(json_lines.UNIT, json_lines.records(file))


__all__ = ["Opened", "SourceRecord", "opened"]
