"""Pseudonyms that stand in the log for actors and for personal data, all derived from one secret key. Pure.

They need no table: the same value has the same pseudonym in every process and at any time, as long as the key is the
same, and nobody without the key can tell which value it stands for, or try values out.
"""

import hmac
import re
from hashlib import sha256

#: Numbers of placeholders. So few that many people share one, and enough that the values of one text seldom do.
NUMBERS = 999
#: Characters of the hash of an actor: 128 bits.
HASH_CHARACTERS = 32
_HASHED = re.compile(r"h_[0-9a-f]{32}")


class Pseudonyms:
    """The pseudonyms of one project. Another project gives the same value another one."""

    def __init__(self, key: bytes, project: str) -> None:
        self._actors = _derived(key, "actors", project)
        self._values = _derived(key, "redaction", project)

    def of_actor(self, actor: str) -> str:
        """Returns the id under which the actor's events are stored. A hash is returned as it is, so that copied events
        are not hashed twice."""
        if is_hashed(actor):
            return actor
        return f"h_{hmac.digest(self._actors, actor.encode(), 'sha256').hex()[:HASH_CHARACTERS]}"

    def of_value(self, kind: str, value: str) -> str:
        """Returns the placeholder of a value, such as `[EMAIL_417]`. Two values may have the same one."""
        digest = hmac.digest(self._values, f"{kind}\0{value}".encode("utf-8", "backslashreplace"), "sha256")
        return f"[{kind.upper()}_{int.from_bytes(digest[:8], 'big') % NUMBERS + 1}]"


def is_hashed(actor: str) -> bool:
    """Returns whether this is the hash of an actor's id."""
    return _HASHED.fullmatch(actor) is not None


def fingerprint(key: bytes) -> bytes:
    """Returns the digest by which processes see that they have the same key."""
    return sha256(b"thumbwheel pseudonym key\0" + key).digest()


def _derived(key: bytes, purpose: str, project: str) -> bytes:
    return hmac.digest(key, f"thumbwheel {purpose}\0{project}".encode(), "sha256")
