"""Public IP addresses, version 4 and 6. Pure."""

import ipaddress
from collections.abc import Iterator

from app.privacy.redaction.patterns import after, before, compiled, continues_word

_VERSION_4 = compiled(r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b")
#: Global addresses of version 6 begin with 2 or 3.
_VERSION_6 = compiled(r"\b[23][0-9a-f]{3}(?::[0-9a-f]{0,4}){2,7}", any_case=True)
_NAMED = compiled(r"\bip(?:v4)?\b|\baddress\b|\bhost\b|\bserver\b", any_case=True)
_NEARBY = 24


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Yields where addresses are that belong to somebody: not private, reserved or those of documentation."""
    for match in _VERSION_4.finditer(text):
        if _is_version_4(text, *match.span()):
            yield match.span()
    if "::" in text or text.count(":") >= 7:
        for match in _VERSION_6.finditer(text):
            if not continues_word(after(text, match.end())) and _is_global(match.group()):
                yield match.span()


def _is_version_4(text: str, start: int, end: int) -> bool:
    """Says whether this is no version of a program or number of a section, which look alike but have small parts."""
    if before(text, start) in ".-_" or (after(text, end) in ".-_" and after(text, end + 1).isalnum()):
        return False
    if before(text, start) == "/" and before(text, start - 1) != "/":
        return False
    address = text[start:end]
    has_large_part = any(len(part) == 3 for part in address.split("."))
    named = has_large_part or bool(_NAMED.search(text[max(0, start - _NEARBY) : start]))
    return named and _is_global(address)


def _is_global(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


def normalised(value: str) -> str:
    try:
        return ipaddress.ip_address(value).compressed
    except ValueError:  # joined with a neighbour
        return value.lower()
