"""Reads CSV and TSV with any delimiter, in UTF-8 or in the UTF-16 that Excel writes."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from typing import BinaryIO

from app.feedback.importing.containers.records import SourceRecord

UNIT = "line"
DELIMITERS = ",;\t|"
UTF_8 = "utf-8"
MAX_LINE = 1 << 20  # characters
csv.field_size_limit(MAX_LINE)


class _LineTooLong(Exception):
    pass


def records(file: BinaryIO, encoding: str, delimiter: str) -> Iterator[SourceRecord]:
    """Yields the rows as objects by the names in the first row; a row is numbered by the line on which it begins.

    All values are texts. A row with an unclosed quote is the last.
    """
    reader = csv.reader(_lines(file, encoding), delimiter=delimiter, strict=True)
    begins = 1
    try:
        names = [name.strip() for name in next(reader)]
        begins = reader.line_num + 1
        for values in reader:
            number, begins = begins, reader.line_num + 1
            if not any(values):
                continue
            if len(values) > len(names) and any(values[len(names) :]):
                reason = f"has {len(values)} values, but there are {len(names)} columns: quote those with the delimiter"
                yield SourceRecord(number, broken=reason)
                continue
            row = zip_longest(names, values[: len(names)], fillvalue="")
            yield SourceRecord(number, {name: value for name, value in row if name})
    except _LineTooLong:
        yield SourceRecord(reader.line_num + 1, broken=f"has over {MAX_LINE:,} characters: nothing after it was read")
    except UnicodeDecodeError as error:
        remedy = "convert the file, for example by `iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW`"
        reason = f"is not {encoding.upper()} ({error.reason}): {remedy}; nothing after it was read"
        yield SourceRecord(begins, broken=reason)
    except csv.Error as error:
        yield SourceRecord(begins, broken=f"is not valid CSV: {error}; is a quote unclosed? Nothing after it was read")


def delimiter_of(head: str) -> str | None:
    """Returns the delimiter that splits the first rows most evenly; None if none splits the first row in two."""
    best: tuple[float, int, str] | None = None
    for delimiter in DELIMITERS:
        widths = _widths(head, delimiter)
        if not widths or widths[0] < 2:
            continue
        even = Counter(widths)[widths[0]] / len(widths)
        if best is None or (even, widths[0]) > best[:2]:
            best = (even, widths[0], delimiter)
    return None if best is None else best[2]


def _widths(head: str, delimiter: str) -> list[int]:
    """Returns the numbers of columns of the first rows, without the last one, which may be cut off."""
    widths: list[int] = []
    try:
        for values in csv.reader(io.StringIO(head, newline=""), delimiter=delimiter):
            if values:
                widths.append(len(values))
    except csv.Error:
        pass
    return widths[:-1] if len(widths) > 2 else widths


def _lines(file: BinaryIO, encoding: str) -> Iterator[str]:
    if encoding == UTF_8:  # decoded line by line: a wrong byte leaves the lines before it
        while line := file.readline(MAX_LINE + 1):
            yield _bounded(line.decode().removeprefix("\ufeff"))
        return
    text = io.TextIOWrapper(file, encoding, newline="")
    try:
        while row := text.readline(MAX_LINE + 1):
            yield _bounded(row)
    finally:
        text.detach()  # the caller closes the file


def _bounded(line: str) -> str:
    if len(line) > MAX_LINE:
        raise _LineTooLong
    return line
