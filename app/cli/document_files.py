"""Reads documents that people write, such as label policies and suites, from files in YAML or JSON."""

import sys
from pathlib import Path
from typing import Any

from app.bounded_yaml import MOST_BYTES, decoded, load, read_text
from app.errors import Invalid


def read_document(path: Path) -> Any:
    """Returns the document in a file, or in stdin for `-`. Raises `Invalid` if it cannot be read."""
    name = "stdin" if str(path) == "-" else str(path)
    try:
        text = decoded(sys.stdin.buffer.read(MOST_BYTES + 1)) if name == "stdin" else read_text(path)
        return load(text, json_only=path.suffix == ".json")
    except ValueError as error:
        raise Invalid(f"{name} {error}.", code="unreadable_file") from error
