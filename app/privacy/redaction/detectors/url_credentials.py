"""User and password in a URL. Pure."""

from collections.abc import Iterator

from app.privacy.redaction.detectors.placeholders import is_placeholder
from app.privacy.redaction.patterns import compiled

_USER_AND_PASSWORD = compiled(r"""\b[A-Za-z][A-Za-z0-9+.-]{1,20}://([^\s/?#@:"'<>]*:[^\s/@"'<>]+)@[\pL0-9\[]""")


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Yields ``user:password`` of each URL with both."""
    if "://" not in text:
        return
    for match in _USER_AND_PASSWORD.finditer(text):
        start, end = match.span(1)
        if not is_placeholder(text[start:end].partition(":")[2]):
            yield start, end
