"""Recognises files that are not UTF-8 JSON lines by their first bytes, and other tools' exports by their keys. Pure."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

MAGIC = {
    b"PAR1": (
        "is a parquet file: write it as JSON lines first, "
        "for example with polars: pl.read_parquet(FILE).write_ndjson(NEW)."
    ),
    b"PK\x03\x04": "is a zip archive or an Excel workbook: unpack it, or save the table as JSON lines.",
    b"BZh": "is compressed with bzip2: decompress it first; only gzip is read.",
    b"\xfd7zXZ": "is compressed with xz: decompress it first; only gzip is read.",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd: decompress it first; only gzip is read.",
}
LINES = "one JSON object per line with the fields prompt, completion and label (true or false)"

#: The beginning of a batch's body, or of a page of the listing.
_BATCH = re.compile(rb'\{\s*"(events|items)"\s*:\s*\[')

#: Keys that occur together in the rows of other tools' exports.
TOOLS: Mapping[str, tuple[frozenset[str], ...]] = {
    "Langfuse": (frozenset({"traceId", "dataType"}), frozenset({"traceId", "name", "value"})),
    "LangSmith": (frozenset({"run_id", "key", "score"}), frozenset({"run_type", "inputs"})),
    "Phoenix": (frozenset({"span_id", "annotator_kind"}),),
    "OpenAI": (
        frozenset({"input", "preferred_output"}),
        frozenset({"object", "choices"}),
    ),
    "Label Studio": (frozenset({"data", "annotations"}),),
    "Argilla": (frozenset({"fields", "responses"}),),
    "TensorZero": (frozenset({"metric_name", "value"}), frozenset({"inference_id", "function_name"})),
    "ShareGPT": (frozenset({"conversations"}),),
}


#: Conversations in one list of messages, a shape that several tools share, by the extra field that comes with it.
CONVERSATIONS: Mapping[str | None, str] = {
    "rejected_response": (
        "a conversation with a rejected answer, as ms-swift reads it: write the last message as chosen, "
        "rejected_response as rejected and the messages before them as prompt"
    ),
    "label": (
        "a conversation with a label, as ms-swift and LLaMA-Factory read it: write the last message as completion and "
        "those before it as prompt"
    ),
    None: (
        "a conversation without a judgement, as OpenAI, ms-swift, axolotl and others train on: add what users thought"
    ),
}


def origin_of(row: Mapping[str, Any]) -> str | None:
    """Returns the format and tool that a row of unknown shape seems to come from; None if it is not recognised."""
    tool = next((tool for tool, shapes in TOOLS.items() if any(shape <= row.keys() for shape in shapes)), None)
    if tool is not None:
        return f"an export of {tool}"
    if "messages" not in row:
        return None
    return next(description for field, description in CONVERSATIONS.items() if field is None or field in row)


def remedy_for_long(line: bytes) -> str:
    """Returns the remedy for a line that is too long, as the end of a sentence."""
    batch = _BATCH.match(line)
    if batch is None:
        return "shorten what it holds"
    return f"write its {batch[1].decode()} one per line, for example with `jq -c '.{batch[1].decode()}[]' FILE > NEW`"


def _remedy_for_document(lines: Sequence[bytes]) -> str | None:
    """Returns the command that converts one JSON document to JSON lines; None if `lines` do not begin one.

    The last of several lines may be cut off, and so may be a single one.
    """
    first = lines[0]
    if first.startswith(b"["):
        return None if len(lines) > 1 and not _breaks_off(first) else "jq -c '.[]'"
    if not first.startswith(b"{") or len(lines) == 1 or not _breaks_off(first):
        return None
    batch = _BATCH.match(first)
    return "jq -c ." if batch is None else f"jq -c '.{batch[1].decode()}[]'"


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


def reason_to_refuse(head: bytes) -> str | None:
    """Returns the reason to refuse a file that begins with `head`, as the end of a sentence; None if it is readable."""
    for magic, sentence in MAGIC.items():
        if head.startswith(magic):
            return sentence
    if not head.strip():
        return "is empty: there is nothing to import."
    encoding = json.detect_encoding(head)
    if not encoding.startswith("utf-8"):
        name = encoding.upper()
        return f"is not UTF-8, it looks like {name}: convert it, for example by `iconv -f {name} -t UTF-8 FILE > NEW`."
    if b"\x00" in head:
        return f"is binary, not text: write it as {LINES}."
    lines = [line.strip() for line in head.removeprefix(b"\xef\xbb\xbf").splitlines() if line.strip()]
    if (remedy := _remedy_for_document(lines)) is not None:
        return f"is one JSON document, not JSON lines: convert it, for example by `{remedy} FILE > NEW`."
    if lines[0].startswith(b"<"):
        return f"looks like HTML or XML: write it as {LINES}."
    if not any(line.startswith((b"{", b"[")) for line in lines):
        kind = "CSV" if any(mark in lines[0] for mark in (b",", b";", b"\t")) else "plain text"
        return f"looks like {kind}, not JSON lines: write it as {LINES}."
    return None
