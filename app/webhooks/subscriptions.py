"""The types of events that an endpoint subscribes to. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from thumbwheel.wire.webhooks import WEBHOOKS

TEST = "webhook.test"


@dataclass(frozen=True)
class Subscription:
    """An endpoint with its patterns. A disabled one gets events by a replay alone."""

    endpoint_id: UUID
    patterns: Sequence[str]
    enabled: bool

    def covers(self, kind: str) -> bool:
        return kind in types_of(self.patterns)


def types_of(patterns: Iterable[str]) -> frozenset[str]:
    """Returns the types that the patterns of an endpoint cover; a test event is sent without a subscription."""
    wanted = set(patterns)
    return frozenset(
        name for name in WEBHOOKS if name != TEST and not wanted.isdisjoint({"*", name, f"{name.partition('.')[0]}.*"})
    )
