"""Counts events in Redis, and refuses those above a limit. While Redis is away, nothing is refused.

Requests that come while a call is under way share the next one: the driver costs more than the counting.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import redis.asyncio
from redis.exceptions import RedisError

from app.access.limits import WINDOW_MS, WINDOW_SECONDS, Limit, Usage
from app.errors import RateLimited

log = logging.getLogger(__name__)

#: The longest time that a request waits for Redis.
ANSWER_SECONDS = 0.25
#: After a failure, Redis is tried again only after this time, so that requests do not wait for a server that is away.
REST_SECONDS = 1.0
#: Requests that share one call.
MOST_REQUESTS = 200

#: For each request, adds its events to its counters, unless one of them has reached its quota. Of a request in parts,
#: it adds as many events as all quotas leave.
#:
#: ARGV: the window in milliseconds; then for each request its events, whether it is in parts, the number of its
#: counters, and their quotas. KEYS: the counters of all requests. Returns the milliseconds since the window began; then
#: for each request the events that were added, and the present and the previous count of each counter afterwards. The
#: clock is that of Redis, which all processes share.
SCRIPT = """
local window = tonumber(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local number, elapsed = math.floor(now / window), now % window
local answer, at, first = {elapsed}, 2, 0
while at <= #ARGV do
  local added, parts, many = tonumber(ARGV[at]), ARGV[at + 1] == '1', tonumber(ARGV[at + 2])
  local counts = {}
  for i = 1, many do
    local stored = redis.call('HMGET', KEYS[first + i], 'n', 'p', 'b')
    local n, present, before = tonumber(stored[1]), tonumber(stored[2]) or 0, tonumber(stored[3]) or 0
    if n == number - 1 then
      present, before = 0, present
    elseif n ~= number then
      present, before = 0, 0
    end
    local left = math.ceil(tonumber(ARGV[at + 2 + i]) - before * (window - elapsed) / window - present)
    if left <= 0 then added = 0 elseif parts then added = math.min(added, left) end
    counts[2 * i - 1], counts[2 * i] = present, before
  end
  answer[#answer + 1] = added
  for i = 1, many do
    local present = counts[2 * i - 1] + added
    if added > 0 then
      redis.call('HSET', KEYS[first + i], 'n', number, 'p', present, 'b', counts[2 * i])
      redis.call('PEXPIRE', KEYS[first + i], 2 * window)
    end
    answer[#answer + 1], answer[#answer + 2] = present, counts[2 * i]
  end
  at, first = at + 3 + many, first + many
end
return answer
"""


#: A limit with the actor or the address that it applies to; "" for a limit of a key or a project.
Counter = tuple[Limit, str]


class Counted(NamedTuple):
    """The number of events that were taken, and the usage of each limit afterwards: none while Redis is away."""

    taken: int
    usages: Sequence[Usage]

    @property
    def seconds_to_wait(self) -> int:
        """The seconds until another event would be taken."""
        return max((usage.seconds_to_wait for usage in self.usages), default=0)


@dataclass(eq=False)
class _CountRequest:
    limits: Sequence[Counter]
    events: int
    parts: bool
    answer: asyncio.Future[Counted] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class RateLimiter:
    """The counters of all processes of the API; used inside one event loop."""

    def __init__(self, url: str) -> None:
        self._client = redis.asyncio.Redis.from_url(
            url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS
        )
        self._count = self._client.register_script(SCRIPT)
        self._queue: list[_CountRequest] = []
        self._calls: asyncio.Task[None] | None = None
        self._rests_until = 0.0

    async def count(self, limits: Sequence[Counter], events: int = 1) -> Sequence[Usage]:
        """Counts events of each holder, and returns the usage of each limit afterwards; nothing while Redis is away.

        Raises `RateLimited` if one of the limits is reached. Then nothing is counted.
        """
        counted = await self._counted(limits, events, parts=False)
        if not counted.taken:
            raise _refusal(max(counted.usages, key=lambda usage: usage.seconds_to_wait))
        return counted.usages

    async def count_parts(self, requests: Sequence[tuple[Sequence[Counter], int]]) -> Sequence[Counted]:
        """Counts the events of several holders, each with its limits: as many of each as all of its limits leave."""
        return await asyncio.gather(*(self._counted(limits, events, parts=True) for limits, events in requests))

    async def _counted(self, limits: Sequence[Counter], events: int, *, parts: bool) -> Counted:
        if not limits or time.monotonic() < self._rests_until:
            return Counted(events, ())
        waiting = _CountRequest(limits, events, parts)
        self._queue.append(waiting)
        if self._calls is None:
            self._calls = asyncio.create_task(self._call())
        return await waiting.answer

    @property
    def away(self) -> bool:
        """Returns whether Redis was away at the last call."""
        return self._rests_until != 0.0

    async def close(self) -> None:
        """Answers all requests that wait, and closes the connection."""
        if self._calls is not None:
            await self._calls
        with suppress(RedisError, OSError, TimeoutError):
            await self._client.aclose()

    async def _call(self) -> None:
        while self._queue:
            together, self._queue = self._queue[:MOST_REQUESTS], self._queue[MOST_REQUESTS:]
            try:
                elapsed, *counts = await self._count(
                    keys=[limit.holder(value) for waiting in together for limit, value in waiting.limits],
                    args=[WINDOW_MS, *(number for waiting in together for number in _arguments(waiting))],
                )
            except Exception as error:  # noqa: BLE001 - whatever it is, no event is lost by it
                self._rest(error)
                together, self._queue = together + self._queue, []
                for waiting in together:
                    _answer(waiting, Counted(waiting.events, ()))
            else:
                self._rests_until = 0.0
                _answer_all(together, elapsed, counts)
        self._calls = None

    def _rest(self, error: Exception) -> None:
        if self._rests_until == 0.0:
            log.warning("Redis is away, so that no event is refused for its rate: %s", error)
        self._rests_until = time.monotonic() + REST_SECONDS


def rate_headers(usages: Sequence[Usage]) -> dict[str, str]:
    """Returns the headers of draft-ietf-httpapi-ratelimit-headers: the limits, and what is left of each."""
    if not usages:
        return {}
    policies = [f'"{usage.limit.name}";q={usage.limit.quota};w={WINDOW_SECONDS}' for usage in usages]
    left = [f'"{usage.limit.name}";r={usage.remaining};t={_seconds_until_more(usage)}' for usage in usages]
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(left)}


def _seconds_until_more(usage: Usage) -> int:
    return usage.seconds_to_wait or WINDOW_SECONDS - usage.elapsed_ms // 1000


def _arguments(waiting: _CountRequest) -> list[int]:
    return [waiting.events, int(waiting.parts), len(waiting.limits), *(limit.quota for limit, _ in waiting.limits)]


def _answer_all(together: Sequence[_CountRequest], elapsed: int, counts: Sequence[int]) -> None:
    place = 0
    for waiting in together:
        taken, *of_request = counts[place : place + 1 + 2 * len(waiting.limits)]
        usages = [
            Usage(limit, of_request[2 * number], of_request[2 * number + 1], elapsed)
            for number, (limit, _) in enumerate(waiting.limits)
        ]
        _answer(waiting, Counted(taken, usages))
        place += 1 + len(of_request)


def _answer(waiting: _CountRequest, answer: Counted) -> None:
    if not waiting.answer.done():  # else the client hung up
        waiting.answer.set_result(answer)


def _refusal(usage: Usage) -> RateLimited:
    limit, wait = usage.limit, usage.seconds_to_wait
    return RateLimited(
        f"{limit.exceeded}, the most there may be: send this again in {wait} s.",
        code="rate_limited",
        details={"limit": limit.name, "per_minute": limit.quota, "retry_after_seconds": wait},
        headers={**rate_headers([usage]), "Retry-After": str(wait)},
    )
