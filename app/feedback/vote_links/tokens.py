"""The tokens of vote links: what a link is for, signed with a secret of its project. Pure.

A token is ``payload.signature`` in base64url. Links need no row: the payload has all that a vote needs, and the id of
the vote's event is derived from the link, so that the log itself keeps a link from being used twice.
"""

import base64
import hmac
import json
from dataclasses import astuple, dataclass
from uuid import UUID

VERSION = 1
SIGNATURE_BYTES = 16
#: The longest id of an actor and of a completion, escaped as JSON, in base64.
MOST_CHARACTERS = 5000


@dataclass(frozen=True)
class VoteToken:
    """The content of a link. `secret`: the number of the secret that signs it; `expires`: seconds since 1970."""

    project: str
    secret: int
    link_id: str
    expires: int
    completion_id: str
    actor: str

    @property
    def event_id(self) -> str:
        return f"vote-link-{self.link_id}"


def signed(token: VoteToken, secret: bytes) -> str:
    payload = json.dumps([VERSION, *astuple(token)], separators=(",", ":")).encode()
    return f"{_text_of(payload)}.{_text_of(_signature(payload, secret))}"


def read(text: str) -> VoteToken | None:
    """Returns what a token says, which anybody may have written; None if it is no token."""
    try:
        version, *values = json.loads(_bytes_of(text[:MOST_CHARACTERS].partition(".")[0]))
        token = VoteToken(*values)
        known = version == VERSION and isinstance(token.secret, int) and isinstance(token.expires, int)
        texts = token.project, token.link_id, token.completion_id, token.actor
        UUID(token.link_id)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    return token if known and all(isinstance(each, str) for each in texts) else None


def is_genuine(text: str, secret: bytes) -> bool:
    """Returns whether the token was signed with this secret."""
    payload, _, signature = text.partition(".")
    try:
        return hmac.compare_digest(_bytes_of(signature), _signature(_bytes_of(payload), secret))
    except ValueError:
        return False


def _signature(payload: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, b"thumbwheel vote link\0" + payload, "sha256")[:SIGNATURE_BYTES]


def _text_of(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _bytes_of(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
