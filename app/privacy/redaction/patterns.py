"""Patterns of RE2 for detectors: linear in the length of the text, whatever the text. Pure."""

from typing import Any

import re2

#: Memory of one compiled pattern; those of keys have many counted repetitions.
MOST_PATTERN_BYTES = 32 * 2**20


def compiled(pattern: str, *, any_case: bool = False) -> Any:
    options = re2.Options()
    options.max_mem = MOST_PATTERN_BYTES
    options.case_sensitive = not any_case
    options.log_errors = False
    return re2.compile(pattern, options)


def before(text: str, start: int) -> str:
    """Returns the character before an offset, a space at the beginning."""
    return text[start - 1] if start else " "


def after(text: str, end: int) -> str:
    """Returns the character at an offset, a space at the end."""
    return text[end] if end < len(text) else " "
