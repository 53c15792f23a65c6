# Written by tools/async_client.py from ../client/webhooks.py: change that file, then run `make async-client`.
"""`AsyncWebhooks`: endpoints that events of a project are sent to, and the log of deliveries."""

from collections.abc import AsyncIterator
from datetime import datetime
from uuid import UUID

from thumbwheel import wire
from thumbwheel.async_client.http import AsyncHttp

PATH = "/v1/webhooks/endpoints"


class AsyncWebhooks:
    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def create(self, new: wire.NewWebhookEndpoint) -> wire.WebhookEndpointWithSecret:
        """Creates an endpoint. This answer alone holds its secret."""
        return await self._http.call(wire.WebhookEndpointWithSecret, "POST", PATH, new)

    def list(self) -> AsyncIterator[wire.WebhookEndpoint]:
        """Yields the endpoints, newest first."""
        return self._http.pages(wire.WebhookEndpoint, PATH)

    async def get(self, endpoint_id: UUID) -> wire.WebhookEndpoint:
        return await self._http.get(wire.WebhookEndpoint, f"{PATH}/{endpoint_id}")

    async def change(self, endpoint_id: UUID, change: wire.WebhookEndpointChange) -> wire.WebhookEndpoint:
        """Changes the fields that are set."""
        path = f"{PATH}/{endpoint_id}"
        return await self._http.call(wire.WebhookEndpoint, "PATCH", path, change, safe=True, drop_unset=True)

    async def delete(self, endpoint_id: UUID) -> wire.WebhookEndpoint:
        """Deletes the endpoint with its deliveries, and returns it as it was."""
        return await self._http.call(wire.WebhookEndpoint, "DELETE", f"{PATH}/{endpoint_id}")

    async def rotate(self, endpoint_id: UUID, overlap_hours: float = 24) -> wire.WebhookEndpointWithSecret:
        """Replaces the secret. For `overlap_hours` the one before stays valid; 0 if it has leaked."""
        rotation = wire.SecretRotation(overlap_hours=overlap_hours)
        return await self._http.call(wire.WebhookEndpointWithSecret, "POST", f"{PATH}/{endpoint_id}/rotate", rotation)

    async def test(self, endpoint_id: UUID) -> wire.WebhookDelivery:
        """Sends a `webhook.test` event to the endpoint alone."""
        return await self._http.call(wire.WebhookDelivery, "POST", f"{PATH}/{endpoint_id}/test")

    def deliveries(
        self, endpoint_id: UUID, state: wire.DeliveryState | None = None
    ) -> AsyncIterator[wire.WebhookDelivery]:
        """Yields the deliveries of the last 30 days with their attempts, newest first."""
        filters = {"state": state} if state else {}
        return self._http.pages(wire.WebhookDelivery, f"{PATH}/{endpoint_id}/deliveries", filters)

    async def replay(self, endpoint_id: UUID, delivery_id: UUID) -> wire.WebhookDelivery:
        """Sends the event of a delivery again, with the same `webhook-id`."""
        path = f"{PATH}/{endpoint_id}/deliveries/{delivery_id}/replay"
        return await self._http.call(wire.WebhookDelivery, "POST", path)

    async def replay_missed(self, endpoint_id: UUID, since: datetime) -> wire.ReplayReceipt:
        """Sends the events since a time that the endpoint has missed: 1,000 at most."""
        body = wire.MissedReplay(since=since)
        return await self._http.call(wire.ReplayReceipt, "POST", f"{PATH}/{endpoint_id}/replay", body, safe=True)
