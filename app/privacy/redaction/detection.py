"""Finds personal data and secrets in a text. Pure, except that Presidio's kinds load a library and its model.

Every detector takes linear time: patterns are RE2's, which never backtracks, and what follows a match looks at a
bounded number of characters.
"""

from collections.abc import Callable, Iterator

from app.privacy.redaction.detectors import (
    api_keys,
    assignments,
    cards,
    ibans,
    ip_addresses,
    json_web_tokens,
    mail_addresses,
    phone_numbers,
    private_keys,
    url_credentials,
)
from app.privacy.redaction.findings import KINDS, PRESIDIO_KINDS, DetectedSpan
from app.privacy.redaction.overlaps import without_overlaps
from app.privacy.redaction.patterns import readable

_Spans = Callable[[str], Iterator[tuple[int, int]]]
#: The detector of each kind, and the fewest digits of its values: most texts have none, and are skipped quickly.
_DETECTORS: dict[str, tuple[_Spans, int]] = {
    "private_key": (private_keys.spans, 0),
    "jwt": (json_web_tokens.spans, 0),
    "api_key": (api_keys.spans, 0),
    "url_credentials": (url_credentials.spans, 0),
    "token": (assignments.tokens, 1),
    "password": (assignments.passwords, 0),
    "email": (mail_addresses.spans, 0),
    "iban": (ibans.spans, 2),
    "card": (cards.spans, 12),
    "phone": (phone_numbers.spans, 7),
    "ip_address": (ip_addresses.spans, 1),
}
_NORMALISED = {
    "private_key": private_keys.normalised,
    "email": mail_addresses.normalised,
    "iban": ibans.normalised,
    "card": cards.normalised,
    "phone": phone_numbers.normalised,
    "ip_address": ip_addresses.normalised,
}


_KNOWN, _FROM_PRESIDIO = frozenset(KINDS), frozenset(PRESIDIO_KINDS)


def find(text: str, kinds: frozenset[str]) -> list[DetectedSpan]:
    """Returns the spans that hold values of these kinds, sorted by start and without overlaps.

    Raises `ValueError` for an unknown kind, and `Unavailable` with the remedy if a kind needs a library or a language
    model that is not installed: see `reason_to_refuse`.
    """
    if not kinds <= _KNOWN:
        raise ValueError(f"unknown kinds: {', '.join(sorted(kinds - _KNOWN))}")
    text = readable(text)
    digits = sum(map(text.count, "0123456789"))
    found = [
        DetectedSpan(kind, start, end)
        for kind, (spans, fewest_digits) in _DETECTORS.items()
        if kind in kinds and digits >= fewest_digits
        for start, end in spans(text)
    ]
    from_presidio = kinds & _FROM_PRESIDIO
    if from_presidio:
        from app.privacy.redaction import presidio

        found += presidio.find(text, from_presidio)
    return without_overlaps(found)


def reason_to_refuse(kinds: frozenset[str]) -> str | None:
    """Returns why some of these kinds cannot be found on this machine, with the remedy; None if all can."""
    from_presidio = kinds & _FROM_PRESIDIO
    if not from_presidio:
        return None
    from app.privacy.redaction import presidio

    return presidio.reason_to_refuse(from_presidio)


def normalised(kind: str, value: str) -> str:
    """Returns the form in which different spellings of the same value are equal."""
    normalise = _NORMALISED.get(kind)
    if normalise is not None:
        return normalise(value)
    return " ".join(value.split()).casefold() if kind in PRESIDIO_KINDS else value.strip()
