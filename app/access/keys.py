"""What an API key is, and what it opens. Pure.

A key is ``tw_`` and 256 random bits. Only its SHA-256 is kept: a secret that nobody can guess needs no slow hash, and a
slow one would let anybody keep the processor busy.
"""

import hashlib
import secrets
from collections.abc import Collection
from datetime import datetime

SCHEME = "tw_"
SECRET_BYTES = 32
PREFIX_LENGTH = 10
ADMIN = "admin"


def new_secret() -> str:
    return SCHEME + secrets.token_urlsafe(SECRET_BYTES)


def sha256_of(secret: str) -> bytes:
    """What is stored of a secret, and looked up: 32 bytes."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def prefix_of(secret: str) -> str:
    """How the key begins, for people to find it again: too little to guess the rest."""
    return secret[:PREFIX_LENGTH]


def reason_to_refuse(*, expires_at: datetime | None, revoked_at: datetime | None, at: datetime) -> str | None:
    """Why a known key opens nothing at the time `at`; None where it does."""
    if revoked_at is not None:
        return f"This key was revoked at {revoked_at:%Y-%m-%d %H:%M} UTC: ask an admin for a new one."
    if expires_at is not None and not at < expires_at:
        return f"This key expired at {expires_at:%Y-%m-%d %H:%M} UTC: ask an admin for a new one."
    return None


def allows(scopes: Collection[str], scope: str) -> bool:
    """Whether a key with `scopes` may do what needs `scope`: `admin` holds every other one."""
    return scope in scopes or ADMIN in scopes
