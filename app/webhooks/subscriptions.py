"""The types of events that an endpoint subscribes to. Pure."""

from collections.abc import Iterable

from thumbwheel.wire.webhooks import WEBHOOKS

TEST = "webhook.test"


def types_of(patterns: Iterable[str]) -> frozenset[str]:
    """Returns the types that the patterns of an endpoint cover; a test event is sent without a subscription."""
    wanted = set(patterns)
    return frozenset(
        name for name in WEBHOOKS if name != TEST and not wanted.isdisjoint({"*", name, f"{name.partition('.')[0]}.*"})
    )
