"""`Webhooks`: endpoints that events of a project are sent to, and the log of deliveries."""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from thumbwheel import wire
from thumbwheel.client.http import Http

PATH = "/v1/webhooks/endpoints"


class Webhooks:
    def __init__(self, http: Http) -> None:
        self._http = http

    def create(self, new: wire.NewWebhookEndpoint) -> wire.WebhookEndpointWithSecret:
        """Creates an endpoint. This answer alone holds its secret."""
        return self._http.call(wire.WebhookEndpointWithSecret, "POST", PATH, new)

    def list(self) -> Iterator[wire.WebhookEndpoint]:
        """Yields the endpoints, newest first."""
        return self._http.pages(wire.WebhookEndpoint, PATH)

    def get(self, endpoint_id: UUID) -> wire.WebhookEndpoint:
        return self._http.get(wire.WebhookEndpoint, f"{PATH}/{endpoint_id}")

    def change(self, endpoint_id: UUID, change: wire.WebhookEndpointChange) -> wire.WebhookEndpoint:
        """Changes the fields that are set."""
        path = f"{PATH}/{endpoint_id}"
        return self._http.call(wire.WebhookEndpoint, "PATCH", path, change, safe=True, drop_unset=True)

    def delete(self, endpoint_id: UUID) -> wire.WebhookEndpoint:
        """Deletes the endpoint with its deliveries, and returns it as it was."""
        return self._http.call(wire.WebhookEndpoint, "DELETE", f"{PATH}/{endpoint_id}")

    def rotate(self, endpoint_id: UUID, overlap_hours: float = 24) -> wire.WebhookEndpointWithSecret:
        """Replaces the secret. For `overlap_hours` the one before stays valid; 0 if it has leaked."""
        rotation = wire.SecretRotation(overlap_hours=overlap_hours)
        return self._http.call(wire.WebhookEndpointWithSecret, "POST", f"{PATH}/{endpoint_id}/rotate", rotation)

    def test(self, endpoint_id: UUID) -> wire.WebhookDelivery:
        """Sends a `webhook.test` event to the endpoint alone."""
        return self._http.call(wire.WebhookDelivery, "POST", f"{PATH}/{endpoint_id}/test")

    def deliveries(self, endpoint_id: UUID, state: wire.DeliveryState | None = None) -> Iterator[wire.WebhookDelivery]:
        """Yields the deliveries of the last 30 days with their attempts, newest first."""
        filters = {"state": state} if state else {}
        return self._http.pages(wire.WebhookDelivery, f"{PATH}/{endpoint_id}/deliveries", filters)

    def replay(self, endpoint_id: UUID, delivery_id: UUID) -> wire.WebhookDelivery:
        """Sends the event of a delivery again, with the same `webhook-id`."""
        path = f"{PATH}/{endpoint_id}/deliveries/{delivery_id}/replay"
        return self._http.call(wire.WebhookDelivery, "POST", path)

    def replay_missed(self, endpoint_id: UUID, since: datetime) -> wire.ReplayReceipt:
        """Sends the events since a time that the endpoint has missed: 1,000 at most."""
        body = wire.MissedReplay(since=since)
        return self._http.call(wire.ReplayReceipt, "POST", f"{PATH}/{endpoint_id}/replay", body, safe=True)
