"""Passwords and tokens by the name before them: ``password = …``, ``api_key: …``, ``Authorization: Bearer …``. Pure."""

from collections.abc import Iterator

from app.privacy.redaction.detectors.placeholders import entropy, is_placeholder
from app.privacy.redaction.patterns import compiled

_SEPARATOR = r"""["'`\]]*\s{0,3}(?::=|=>|=|:)\s{0,3}"""
_VALUE = r"""("[^"\s]{1,512}"|'[^'\s]{1,512}'|`[^`\s]{1,512}`|[^\s"'`,;&<>()\[\]{}]+)"""
_PASSWORD = compiled(
    r"(?:pass(?:word|wd|phrase|code)|\bpwd|passwort|kennwort|contraseña|mot de passe|senha|wachtwoord|hasło|пароль|密码|密碼|パスワード)"
    rf"(?:{_SEPARATOR}|\s(?:is|ist|es|est|é|to)\s){_VALUE}",
    any_case=True,
)
_TOKEN = compiled(
    r"(?:\bbearer\s{1,3}|\bbasic\s{1,3}|"
    r"(?:secret|token|(?:api|access|secret|auth|private|account|encryption|signing|service|app|consumer|client|master|storage)"
    rf"[_ -]?(?:key|secret|token))(?:{_SEPARATOR}|\sis\s)(?:(?:bearer|basic)\s{{1,3}})?){_VALUE}",
    any_case=True,
)
FEWEST_PASSWORD, FEWEST_TOKEN, MOST = 6, 16, 4096
FEWEST_BITS = 3.0
_QUOTES = "\"'`"
_TRAILING = ".,;:"
_TOKEN_CHARACTERS = compiled(r"^[A-Za-z0-9._~+/=|:$-]+$")


def passwords(text: str) -> Iterator[tuple[int, int]]:
    """Yields values that a password's name precedes and that have letters with digits or signs."""
    for start, end in _values(text, _PASSWORD):
        value = text[start:end]
        kinds = [any(map(test, value)) for test in (str.isalpha, str.isdigit, lambda c: not c.isalnum())]
        if FEWEST_PASSWORD <= len(value) <= MOST and sum(kinds) >= 2 and not _is_code(text, start, end):
            yield start, end


def tokens(text: str) -> Iterator[tuple[int, int]]:
    """Yields values that a token's name precedes, if they are long and look random."""
    for start, end in _values(text, _TOKEN):
        value = text[start:end]
        if not FEWEST_TOKEN <= len(value) <= MOST or not _TOKEN_CHARACTERS.search(value):
            continue
        mixed = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
        if mixed and entropy(value) >= FEWEST_BITS and not _is_code(text, start, end):
            yield start, end


def _values(text: str, pattern: object) -> Iterator[tuple[int, int]]:
    for match in pattern.finditer(text):  # type: ignore[attr-defined]
        start, end = match.span(1)
        if text[start] in _QUOTES and text[end - 1] == text[start] and end - start > 1:
            yield start + 1, end - 1
        else:
            yield start, start + len(text[start:end].rstrip(_TRAILING))


def _is_code(text: str, start: int, end: int) -> bool:
    """Says whether the value is a placeholder, or an expression such as ``settings.password`` or ``getpass()``."""
    value = text[start:end]
    if is_placeholder(value):
        return True
    quoted = start > 0 and text[start - 1] in _QUOTES
    return not quoted and (
        text[end : end + 1] in ("(", "[") or (all(part.isidentifier() for part in value.split(".")) and "." in value)
    )
