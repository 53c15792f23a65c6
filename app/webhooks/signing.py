"""Secrets, and the headers of Standard Webhooks. Pure."""

import base64
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime

from standardwebhooks import Webhook

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def headers(webhook_id: str, at: datetime, body: bytes, valid_secrets: Sequence[str]) -> Mapping[str, str]:
    """Returns the headers of a request that is sent `at` this time, in UTC, with a signature by each secret."""
    signatures = (Webhook(secret).sign(webhook_id, at, body.decode()) for secret in valid_secrets)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
