"""`Keys`: API keys."""

from collections.abc import Iterator
from uuid import UUID

from thumbwheel import wire
from thumbwheel.client.http import Http


class Keys:
    def __init__(self, http: Http) -> None:
        self._http = http

    def create(self, new: wire.NewKey) -> wire.CreatedKey:
        """Creates a key. This answer alone holds its secret."""
        return self._http.call(wire.CreatedKey, "POST", "/v1/keys", new, scoped=False, drop_unset=True)

    def list(self) -> Iterator[wire.Key]:
        return self._http.pages(wire.Key, "/v1/keys", scoped=False)

    def change(self, key_id: UUID, limits: wire.KeyLimits) -> wire.Key:
        """Changes the limits that are given: None means any number."""
        change = wire.KeyChange(limits=limits)
        return self._http.call(
            wire.Key, "PATCH", f"/v1/keys/{key_id}", change, safe=True, scoped=False, drop_unset=True
        )

    def rotate(self, key_id: UUID, overlap_hours: float = 24) -> wire.CreatedKey:
        """Replaces the secret of a key. For `overlap_hours` the one before stays valid; 0 if it has leaked."""
        rotation = wire.KeyRotation(overlap_hours=overlap_hours)
        return self._http.call(wire.CreatedKey, "POST", f"/v1/keys/{key_id}/rotate", rotation, scoped=False)

    def revoke(self, key_id: UUID) -> wire.Key:
        return self._http.call(wire.Key, "DELETE", f"/v1/keys/{key_id}", safe=True, scoped=False)
