"""Creates secrets of API keys, and checks the scopes and validity of keys. Pure.

A key is ``tw_`` and 256 random bits, that of a browser ``twb_`` and as many. Only its SHA-256 is stored: a secret that
cannot be guessed needs no slow hash, and a slow hash would let every caller keep the processor busy.
"""

import hashlib
import secrets
from collections.abc import Collection
from datetime import datetime

SCHEME, BROWSER_SCHEME = "tw_", "twb_"
SECRET_BYTES = 32
PREFIX_LENGTH = 10
ADMIN = "admin"
#: The channel of Postgres on which a change of a key is announced.
CHANGES_CHANNEL = "thumbwheel_keys"


def new_secret(*, browser: bool = False) -> str:
    return (BROWSER_SCHEME if browser else SCHEME) + secrets.token_urlsafe(SECRET_BYTES)


def sha256_of(secret: str) -> bytes:
    """Returns the SHA-256 of a secret, 32 bytes, by which its key is stored."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def prefix_of(secret: str) -> str:
    """Returns the beginning of a secret, by which people recognise the key; it does not reveal the rest."""
    return secret[:PREFIX_LENGTH]


def reason_to_refuse(*, expires_at: datetime | None, revoked_at: datetime | None, at: datetime) -> str | None:
    """Returns the reason why a known key is not valid at the time `at`, or None if it is."""
    if revoked_at is not None:
        return f"This key was revoked at {revoked_at:%Y-%m-%d %H:%M} UTC: ask an admin for a new one."
    if expires_at is not None and not at < expires_at:
        return f"This key expired at {expires_at:%Y-%m-%d %H:%M} UTC: ask an admin for a new one."
    return None


def allows(scopes: Collection[str], scope: str) -> bool:
    """Returns whether `scopes` include `scope`; `admin` includes every other scope."""
    return scope in scopes or ADMIN in scopes
