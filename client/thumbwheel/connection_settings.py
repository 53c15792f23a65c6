"""The address of the API, the key and the project: arguments, else variables of the environment."""

import os
from dataclasses import dataclass
from typing import Self

DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class ConnectionSettings:
    url: str
    api_key: str | None
    project: str | None

    @classmethod
    def of(cls, url: str | None, api_key: str | None, project: str | None) -> Self:
        """Returns the arguments, or THUMBWHEEL_URL, THUMBWHEEL_API_KEY and THUMBWHEEL_PROJECT in their place.

        Raises `ValueError` for a key that no header can hold.
        """
        key = (api_key or os.environ.get("THUMBWHEEL_API_KEY") or "").strip()
        if not key.isascii():
            raise ValueError("api_key: a key has ASCII characters alone. Copy it whole, as it was printed.")
        return cls(
            (url or os.environ.get("THUMBWHEEL_URL") or DEFAULT_URL).rstrip("/"),
            key or None,
            project or os.environ.get("THUMBWHEEL_PROJECT") or None,
        )


def disabled_by_environment() -> bool:
    """Returns whether THUMBWHEEL_DISABLED says that a product sends no feedback, as in its tests."""
    return os.environ.get("THUMBWHEEL_DISABLED", "").strip().lower() in {"1", "true", "yes", "on"}
