"""Limits of single actors. Imported feedback is not counted for them: it is from earlier than this minute."""

from collections.abc import Mapping
from typing import Any

from app.access.rate_limiter import RateLimiter
from app.feedback.ingest.browser_events import ACTOR_PLACE, BACKEND_FIELDS
from app.feedback.ingest.entries import IngestEntry
from app.projects.admission import FeedbackRules

[ORIGIN_PLACE] = BACKEND_FIELDS["origin"]


def counted_actor(entry: IngestEntry) -> str | None:
    """Returns the actor for whom an event counts; None for an import."""
    actor: str = entry.row[ACTOR_PLACE]
    return None if entry.row[ORIGIN_PLACE] == "import" else actor


async def over_limits(
    limiter: RateLimiter, rules: FeedbackRules | None, entries: Mapping[int, IngestEntry]
) -> dict[int, int]:
    """Counts the events of a batch for their actors. Returns, by index, the seconds after which an event that is over a
    limit of its actor can be sent again. Of each actor, the last events are over it.
    """
    if rules is None or not rules.limits_actors:
        return {}
    by_actor: dict[str, list[int]] = {}
    for index, entry in entries.items():
        if (actor := counted_actor(entry)) is not None:
            by_actor.setdefault(actor, []).append(index)
    counted = await limiter.count_parts([(rules.of_actor(actor), len(of_it)) for actor, of_it in by_actor.items()])
    return {
        index: usage.seconds_to_wait
        for of_it, usage in zip(by_actor.values(), counted, strict=True)
        for index in of_it[usage.taken :]
    }


def refused_item(index: int, entry: IngestEntry, seconds: int) -> dict[str, Any]:
    """Returns the answer to an event of a batch that is over a limit of its actor."""
    return {
        "index": index,
        "event_id": entry.row[1],
        "status": "rate_limited",
        "error": f"This actor has sent the most events of a minute: send this again in {seconds} s.",
        "pointer": "/actor",
        "retry_after_seconds": seconds,
    }
