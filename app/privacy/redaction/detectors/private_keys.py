"""Private keys in PEM or OpenPGP armor. Pure."""

from collections.abc import Iterator

from app.privacy.redaction.patterns import compiled

#: The body is base64 with line breaks, possibly escaped ones of a JSON string, after headers with a colon. A key whose
#: end is cut off counts too. No part of the body is a hyphen, so that a search ends where the next header begins.
_BLOCK = compiled(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?:\s|\\[rn])*(?:Proc-Type|DEK-Info|Version|Comment|Hash): [^\n\\]*)*"
    r"(?:[A-Za-z0-9+/=\s]|\\[rn])*(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?"
)


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Yields where private keys are, from BEGIN to END."""
    if "PRIVATE KEY" not in text:
        return
    for match in _BLOCK.finditer(text):
        start, end = match.span()
        yield start, start + len(text[start:end].rstrip())


def normalised(value: str) -> str:
    return "".join(value.replace("\\n", "").replace("\\r", "").split())
