"""Finds personal data and secrets in a text. Pure, except that Presidio's kinds load a library and its model.

Every detector takes linear time: patterns are RE2's, which never backtracks, and what follows a match looks at a bounded
number of characters.
"""

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
from app.privacy.redaction.findings import BUILT_IN_KINDS, KINDS, PRESIDIO_KINDS, DetectedSpan
from app.privacy.redaction.overlaps import without_overlaps

_SPANS = {
    "private_key": private_keys.spans,
    "jwt": json_web_tokens.spans,
    "api_key": api_keys.spans,
    "url_credentials": url_credentials.spans,
    "token": assignments.tokens,
    "password": assignments.passwords,
    "email": mail_addresses.spans,
    "iban": ibans.spans,
    "card": cards.spans,
    "phone": phone_numbers.spans,
    "ip_address": ip_addresses.spans,
}
_NORMALISED = {
    "private_key": private_keys.normalised,
    "email": mail_addresses.normalised,
    "iban": ibans.normalised,
    "card": cards.normalised,
    "phone": phone_numbers.normalised,
    "ip_address": ip_addresses.normalised,
}


def find(text: str, kinds: frozenset[str]) -> list[DetectedSpan]:
    """Returns the spans that hold values of these kinds, sorted by start and without overlaps.

    Raises `ValueError` for an unknown kind, and `Invalid` with the remedy if a kind needs a library or a language model
    that is not installed.
    """
    unknown = kinds.difference(KINDS)
    if unknown:
        raise ValueError(f"unknown kinds: {', '.join(sorted(unknown))}")
    found = [
        DetectedSpan(kind, start, end)
        for kind in BUILT_IN_KINDS
        if kind in kinds
        for start, end in _SPANS[kind](text)
    ]
    from_presidio = kinds.intersection(PRESIDIO_KINDS)
    if from_presidio:
        from app.privacy.redaction import presidio

        found += presidio.find(text, from_presidio)
    return without_overlaps(found)


def normalised(kind: str, value: str) -> str:
    """Returns the form in which different spellings of the same value are equal."""
    normalise = _NORMALISED.get(kind)
    if normalise is not None:
        return normalise(value)
    return " ".join(value.split()).casefold() if kind in PRESIDIO_KINDS else value.strip()
