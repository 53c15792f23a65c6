"""Recognises files that are not UTF-8 JSON lines by their first bytes, and other tools' exports by their keys. Pure."""

import json
from collections.abc import Mapping
from typing import Any

MAGIC = {
    b"PAR1": (
        "is a parquet file: write it as JSON lines first, "
        "for example by polars: pl.read_parquet(FILE).write_ndjson(NEW)."
    ),
    b"PK\x03\x04": "is a zip archive or an Excel workbook: unpack it, or save the table as JSON lines.",
    b"BZh": "is compressed with bzip2: decompress it first; only gzip is read.",
    b"\xfd7zXZ": "is compressed with xz: decompress it first; only gzip is read.",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd: decompress it first; only gzip is read.",
}
LINES = "one JSON object a line with the fields prompt, completion and label (true or false)"

#: Keys that stand together in the rows of other tools' exports.
TOOLS: Mapping[str, tuple[frozenset[str], ...]] = {
    "Langfuse": (frozenset({"traceId", "dataType"}), frozenset({"traceId", "name", "value"})),
    "LangSmith": (frozenset({"run_id", "key", "score"}), frozenset({"run_type", "inputs"})),
    "Phoenix": (frozenset({"span_id", "annotator_kind"}),),
    "OpenAI": (
        frozenset({"input", "preferred_output"}),
        frozenset({"object", "choices"}),
        frozenset({"messages", "weight"}),
        frozenset({"messages"}),
    ),
    "Label Studio": (frozenset({"data", "annotations"}),),
    "Argilla": (frozenset({"fields", "responses"}),),
    "TensorZero": (frozenset({"metric_name", "value"}), frozenset({"inference_id", "function_name"})),
    "ShareGPT": (frozenset({"conversations"}),),
}


def tool_of(row: Mapping[str, Any]) -> str | None:
    """Returns the name of the tool whose export a row seems to be from; None where no tool is recognised."""
    return next((tool for tool, shapes in TOOLS.items() if any(shape <= row.keys() for shape in shapes)), None)


def reason_to_refuse(head: bytes) -> str | None:
    """Returns why a file that begins with `head` cannot be read, as the rest of a sentence; None if it may be read."""
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
    if lines[0] in (b"[", b"{") or lines[0].startswith(b"[{"):
        remedy = "`jq -c . FILE > NEW`" if lines[0] == b"{" else "`jq -c '.[]' FILE > NEW`"
        return f"is one JSON document, not JSON lines: convert it, for example by {remedy}."
    if lines[0].startswith(b"<"):
        return f"looks like HTML or XML: write it as {LINES}."
    if not any(line.startswith((b"{", b"[")) for line in lines):
        kind = "CSV" if any(mark in lines[0] for mark in (b",", b";", b"\t")) else "plain text"
        return f"looks like {kind}, not JSON lines: write it as {LINES}."
    return None
