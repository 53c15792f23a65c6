"""Recognises the container of records by the first bytes of a file. Pure."""

import json
import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from app.feedback.importing.containers.json_documents import ARRAYS
from app.feedback.importing.containers.tables import UTF_8, delimiter_of

HEAD = 65_536  # bytes from which the container is recognised

MAGIC = {
    b"BZh": "is compressed with bzip2: decompress it first; only gzip and zip are read.",
    b"\xfd7zXZ": "is compressed with xz: decompress it first; only gzip and zip are read.",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd: decompress it first; only gzip and zip are read.",
    b"PK\x05\x06": "is an empty archive: there is nothing to import.",
    b"%PDF": "is a PDF: write its data as CSV or JSON lines.",
    b"\xd0\xcf\x11\xe0": "is an old Excel workbook: save the table as CSV UTF-8.",
    b"ARROW1": "is an Arrow file: write it as parquet or JSON lines.",
    b"SQLite format 3": "is a SQLite database: write its table as CSV or JSON lines.",
}
KNOWN = "JSON lines, a JSON array, CSV, TSV or parquet"
_WRAPPED = re.compile(rb'\{\s*"(' + "|".join(sorted(ARRAYS)).encode() + rb')"\s*:\s*\[')
#: First fields of documents that tools write on one line of any length: of a page, and of a conversation.
_ON_ONE_LINE = re.compile(rb'\{\s*"(page|conversationId)"\s*:')


class Container(NamedTuple):
    """The kind of a file. `encoding` and `delimiter` are those of a table."""

    kind: Literal["json_lines", "json_document", "table", "parquet"]
    encoding: str = UTF_8
    delimiter: str = ","


def container_of(head: bytes) -> Container | str:
    """Returns the container of a file that begins with `head`, or the reason to refuse it, as the end of a sentence."""
    for magic, sentence in MAGIC.items():
        if head.startswith(magic):
            return sentence
    if head.startswith(b"PAR1"):
        return Container("parquet")
    if not head.strip():
        return "is empty: there is nothing to import."
    encoding = json.detect_encoding(head)
    if not encoding.startswith("utf-8"):
        return _wide(head, encoding)
    if b"\x00" in head:
        return f"is binary, not text: write it as {KNOWN}."
    lines = [line.strip() for line in head.removeprefix(b"\xef\xbb\xbf").splitlines() if line.strip()]
    if _is_document(lines):
        return Container("json_document")
    if lines[0].startswith(b"<"):
        return f"looks like HTML or XML: write it as {KNOWN}."
    if lines[0].startswith((b"{", b"[")) or _has_json_line(lines):
        return Container("json_lines")
    return _table(head.decode("utf-8-sig", "replace"), UTF_8)


def _wide(head: bytes, encoding: str) -> Container | str:
    """Returns the container of a file in UTF-16 or UTF-32: only tables are read, since Excel writes them so."""
    text = head.decode(encoding, "replace")
    name = encoding.upper()
    if encoding.startswith("utf-16") and not text.lstrip().startswith(("{", "[", "<")):
        return _table(text, encoding)
    return f"is not UTF-8, it looks like {name}: convert it, for example by `iconv -f {name} -t UTF-8 FILE > NEW`."


def _table(head: str, encoding: str) -> Container | str:
    delimiter = delimiter_of(head)
    if delimiter is None:
        return f"looks like plain text, with neither columns nor JSON: write it as {KNOWN}."
    return Container("table", encoding, delimiter)


def _has_json_line(lines: Sequence[bytes]) -> bool:
    """Returns whether a file whose first line is broken goes on as JSON lines: a cell of CSV would hardly be JSON."""
    return any(line.startswith(b"{") and line.endswith(b"}") for line in lines)


def _is_document(lines: Sequence[bytes]) -> bool:
    """Returns whether the lines begin one JSON document, not JSON lines.

    The last of several lines may be cut off, and so may be a single one.
    """
    first = lines[0]
    if first.startswith(b"["):
        return len(lines) == 1 or _breaks_off(first)
    if not first.startswith(b"{"):
        return False
    if len(lines) == 1:
        # A page or a batch of one line may be long; a short one is a document of one line, too.
        return _WRAPPED.match(first) is not None or (_ON_ONE_LINE.match(first) is not None and len(first) > HEAD // 2)
    return _breaks_off(first) or (_WRAPPED.match(first) is not None and len(first) > HEAD // 2)


def _breaks_off(line: bytes) -> bool:
    """Returns whether `line` is the beginning of an incomplete JSON value."""
    text = line.decode("utf-8", "replace")
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.pos >= len(text)
    except RecursionError:
        return False
    return False
