"""Counts events in Redis, and refuses those above a limit. While Redis is away, nothing is refused."""

import logging
import time
from collections.abc import Sequence
from contextlib import suppress

import redis.asyncio
from redis.exceptions import RedisError

from app.access.limits import WINDOW_MS, WINDOW_SECONDS, Limit, Usage
from app.errors import RateLimited

log = logging.getLogger(__name__)

#: The longest time that a request waits for Redis.
ANSWER_SECONDS = 0.25
#: After a failure, Redis is asked again only after this time, so that requests do not wait for a server that is away.
REST_SECONDS = 1.0
CONNECTIONS = 16

#: Adds ARGV[2] events to every counter, unless one of them has reached its quota: ARGV[3…]. Returns whether it added,
#: the time, and the counts of every holder before. One script is one round trip, and counts all limits or none.
#: ARGV[1] is the window in milliseconds. The clock is that of Redis, the same one for all processes.
SCRIPT = """
local window, events = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local number, elapsed = math.floor(now / window), now % window
local fits, counts = 1, {}
for i, key in ipairs(KEYS) do
  local stored = redis.call('HMGET', key, 'n', 'p', 'b')
  local n, present, before = tonumber(stored[1]), tonumber(stored[2]) or 0, tonumber(stored[3]) or 0
  if n == number - 1 then
    present, before = 0, present
  elseif n ~= number then
    present, before = 0, 0
  end
  if before * (window - elapsed) / window + present >= tonumber(ARGV[i + 2]) then fits = 0 end
  counts[#counts + 1], counts[#counts + 2] = present, before
end
if fits == 1 then
  for i, key in ipairs(KEYS) do
    redis.call('HSET', key, 'n', number, 'p', counts[2 * i - 1] + events, 'b', counts[2 * i])
    redis.call('PEXPIRE', key, 2 * window)
  end
end
return {fits, elapsed, unpack(counts)}
"""


class RateLimiter:
    """The counters of all processes of the API; used inside one event loop."""

    def __init__(self, url: str) -> None:
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=ANSWER_SECONDS,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
        )
        self._client = redis.asyncio.Redis(connection_pool=pool)
        self._count = self._client.register_script(SCRIPT)
        self._rests_until = 0.0

    async def count(self, limits: Sequence[tuple[Limit, str]], events: int = 1) -> Sequence[Usage]:
        """Counts events of each holder, and returns the usage of each limit afterwards; nothing while Redis is away.

        limits  each with the actor or the address that it applies to; "" for a limit of a key or a project

        Raises `RateLimited` if one of the limits is reached. Then nothing is counted.
        """
        if not limits or time.monotonic() < self._rests_until:
            return ()
        try:
            fits, elapsed, *counts = await self._count(
                keys=[limit.holder(value) for limit, value in limits],
                args=[WINDOW_MS, events, *(limit.quota for limit, _ in limits)],
            )
        except (RedisError, OSError, TimeoutError) as error:
            if self._rests_until == 0.0:
                log.warning("Redis is away: nothing is refused for its rate (%s)", error)
            self._rests_until = time.monotonic() + REST_SECONDS
            return ()
        self._rests_until = 0.0
        added = events if fits else 0
        usages = [
            Usage(limit, counts[2 * place] + added, counts[2 * place + 1], elapsed)
            for place, (limit, _) in enumerate(limits)
        ]
        if not fits:
            raise _refusal(max(usages, key=lambda usage: usage.seconds_to_wait))
        return usages

    async def close(self) -> None:
        with suppress(RedisError, OSError, TimeoutError):
            await self._client.aclose()
            await self._client.connection_pool.disconnect()


def rate_headers(usages: Sequence[Usage]) -> dict[str, str]:
    """Returns the headers of draft-ietf-httpapi-ratelimit-headers: the limits, and what is left of each."""
    if not usages:
        return {}
    return {
        "RateLimit-Policy": ", ".join(
            f'"{usage.limit.name}";q={usage.limit.quota};w={WINDOW_SECONDS}' for usage in usages
        ),
        "RateLimit": ", ".join(
            f'"{usage.limit.name}";r={usage.remaining};t={usage.seconds_to_wait or _window_end(usage)}'
            for usage in usages
        ),
    }


def _window_end(usage: Usage) -> int:
    return WINDOW_SECONDS - usage.elapsed_ms // 1000


def _refusal(usage: Usage) -> RateLimited:
    limit, wait = usage.limit, usage.seconds_to_wait
    whose = {
        "key": "This key has", "project": "This project has", "actor": "This actor has", "address": "This address has",
        "project-actor": "This actor has",
    }[limit.name]  # fmt: skip
    return RateLimited(
        f"{whose} sent {limit.quota:,} events within a minute, the most there may be: send this again in {wait} s.",
        code="rate_limited",
        details={"limit": limit.name, "per_minute": limit.quota, "retry_after_seconds": wait},
        headers={**rate_headers([usage]), "Retry-After": str(wait)},
    )
