"""Passwords and tokens by the name before them: ``password = …``, ``api_key: …``, ``Authorization: Bearer …``. Pure."""

from collections.abc import Iterator
from typing import Any

from app.privacy.redaction.detectors.placeholders import entropy, is_placeholder
from app.privacy.redaction.patterns import compiled

_SEPARATOR = r"""["'`\]]{0,3}\s{0,3}(?::=|=>|=|:|:)\s{0,3}"""
#: A quoted value without spaces, or all up to a space, quote, bracket or comma.
_VALUE = r"""["']?("[^"\s]+"|'[^'\s]+'|`[^`\s]+`|[^\s"'`,;&<>()\[\]{},。;]+)"""
_PASSWORD = compiled(
    r"(?:pass(?:word|wd|phrase|code)|\bpwd|\bpw|passwort|kennwort|contraseña|mot de passe|\bsenha|wachtwoord|hasło"
    rf"|lösenord|пароль|密码|密碼|パスワード|비밀번호)(?:{_SEPARATOR}|\s(?:is|ist|es|est|é|è|to)\s){_VALUE}",
    any_case=True,
)
_TOKEN = compiled(
    r"(?:\b(?:bearer|basic)\s{1,3}|(?:secret|token|(?:api|access|secret|auth|private|account|encryption|signing|service"
    r"|app|consumer|client|master|storage|subscription)[_ -]?(?:key|secret|token))"
    rf"(?:{_SEPARATOR}|\sis\s)(?:(?:bearer|basic)\s{{1,3}})?){_VALUE}",
    any_case=True,
)
_TOKEN_CHARACTERS = compiled(r"^[A-Za-z0-9._~+/=|:$-]+$")
#: Signs of passwords that join no words.
_SIGNS = frozenset("!#$%^&*+=~?@|\\")
FEWEST_PASSWORD, FEWEST_TOKEN, MOST = 6, 16, 4096
#: Bits per character: those of a word are below, of 16 random characters above.
FEWEST_BITS = 3.0
_QUOTES, _TRAILING = "\"'`", ".,;:"


def passwords(text: str) -> Iterator[tuple[int, int]]:
    """Yields values after a password's name that have letters, and digits or signs besides."""
    for start, end in _values(text, _PASSWORD):
        value = text[start:end]
        if not FEWEST_PASSWORD <= len(value) <= MOST or not any(map(str.isalpha, value)):
            continue
        mixed = any(map(str.isdigit, value)) or not _SIGNS.isdisjoint(value[:-1])
        if mixed and not _is_code(text, start, end):
            yield start, end


def tokens(text: str) -> Iterator[tuple[int, int]]:
    """Yields values after a token's name that are long and look random."""
    for start, end in _values(text, _TOKEN):
        value = text[start:end]
        if not FEWEST_TOKEN <= len(value) <= MOST or not _TOKEN_CHARACTERS.search(value):
            continue
        mixed = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
        if mixed and entropy(value) >= FEWEST_BITS and not _is_code(text, start, end):
            yield start, end


def _values(text: str, pattern: Any) -> Iterator[tuple[int, int]]:
    for match in pattern.finditer(text):
        start, end = match.span(1)
        if text[start] in _QUOTES and end - start > 2 and text[end - 1] == text[start]:
            yield start + 1, end - 1
        else:
            yield start, start + len(text[start:end].rstrip(_TRAILING))


def _is_code(text: str, start: int, end: int) -> bool:
    """Says whether the value is a placeholder, or an expression such as ``settings.password`` or ``getpass()``."""
    value = text[start:end]
    if is_placeholder(value):
        return True
    if start > 0 and text[start - 1] in _QUOTES:
        return False
    return text[end : end + 1] in ("(", "[") or ("." in value and all(map(str.isidentifier, value.split("."))))
