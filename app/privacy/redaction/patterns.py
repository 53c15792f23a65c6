"""Patterns of RE2 for detectors: linear in the length of the text, whatever the text. Pure."""

import re
from typing import Any

import re2

#: Memory of one compiled pattern; those of keys have many counted repetitions.
MOST_PATTERN_BYTES = 32 * 2**20
#: Signs that people write between groups of digits, within brackets of a pattern.
SPACES, HYPHENS = r" \x{a0}\x{2009}\x{202f}", r"\x{2010}\x{2011}\x{2013}\-"

#: What stands for a sign in a string of JSON or source code, and what is read in its place, of the same length.
_ESCAPES = (("\\n", "  "), ("\\r", "  "), ("\\t", "  "), ('\\"', '""'), ("\\'", "''"))
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def compiled(pattern: str, *, any_case: bool = False) -> Any:
    options = re2.Options()
    options.max_mem = MOST_PATTERN_BYTES
    options.case_sensitive = not any_case
    options.log_errors = False
    return re2.compile(pattern, options)


def readable(text: str) -> str:
    """Returns a text of the same length for the detectors: without escapes, which look like letters (``\\n030 1234``),
    and without lone surrogates, which RE2 refuses.
    """
    if "\\" in text:
        for escape, sign in _ESCAPES:
            text = text.replace(escape, sign)
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)


def before(text: str, start: int) -> str:
    """Returns the character before an offset, a space at the beginning."""
    return text[start - 1] if start > 0 else " "


def after(text: str, end: int) -> str:
    """Returns the character at an offset, a space at the end."""
    return text[end] if end < len(text) else " "


def continues_word(character: str) -> bool:
    """Says whether a value next to this character would be a part of a word or a number.

    Scripts without capitals are not counted: Chinese, Japanese and Thai write no spaces between words.
    """
    if character.isascii():
        return character.isalnum() or character == "_"
    return character.isdecimal() or character.islower() or character.isupper()
