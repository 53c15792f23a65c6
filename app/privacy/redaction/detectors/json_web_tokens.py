"""JSON Web Tokens, signed (three parts) or encrypted (five). Pure."""

import base64
import json
from collections.abc import Iterator

from app.privacy.redaction.patterns import compiled

_TOKEN = compiled(r"\bey[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)?")
#: Characters of the longest header that is decoded; certificates in one take a few thousand.
MOST_HEADER = 16_384


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Yields where tokens are whose header decodes to a JSON object with an algorithm."""
    if "ey" not in text:
        return
    for match in _TOKEN.finditer(text):
        if _has_algorithm(match.group().partition(".")[0]):
            yield match.span()


def _has_algorithm(header: str) -> bool:
    if len(header) > MOST_HEADER:
        return False
    try:
        document = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and isinstance(document.get("alg"), str)
