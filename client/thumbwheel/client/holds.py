"""`Holds`: feedback that nothing deletes while a legal hold is in force."""

from collections.abc import Iterator
from uuid import UUID

from thumbwheel import wire
from thumbwheel.client.http import Http


class Holds:
    """Methods need a key with the scope admin."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def place(self, new: wire.NewHold) -> wire.LegalHold:
        """Places a hold; the same call again returns the same hold."""
        return self._http.call(wire.LegalHold, "POST", "/v1/holds", new, safe=True)

    def list(self) -> Iterator[wire.LegalHold]:
        """Yields all holds, newest first, those that have ended among them."""
        return self._http.pages(wire.LegalHold, "/v1/holds")

    def get(self, hold_id: UUID) -> wire.LegalHold:
        return self._http.get(wire.LegalHold, f"/v1/holds/{hold_id}")

    def release(self, hold_id: UUID, reason: str) -> wire.LegalHold:
        """Releases a hold: with the key that placed it, or with an admin key that opens every project."""
        body = wire.HoldRelease(reason=reason)
        return self._http.call(wire.LegalHold, "POST", f"/v1/holds/{hold_id}/release", body, safe=True)
