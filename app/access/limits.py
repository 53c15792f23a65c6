"""Limits on events within a minute, by key, actor, address and project. Pure.

A limit counts in windows of a minute that are aligned to the clock, and weighs the window before by the part of it that
still lies within the last minute. So it needs two numbers for each holder, and no burst fits around a boundary.
"""

import hashlib
import ipaddress
import math
from dataclasses import dataclass
from typing import Literal

WINDOW_SECONDS = 60
WINDOW_MS = WINDOW_SECONDS * 1000

LimitName = Literal[
    "key", "actor", "address", "project", "project-actor",
    "key-gateway", "key-gateway-actor", "project-gateway", "project-gateway-actor",
]  # fmt: skip


@dataclass(frozen=True)
class Limit:
    """A limit of `quota` events a minute for each holder. `of`: the id of the key or the project that sets it."""

    name: LimitName
    of: str
    quota: int

    @property
    def exceeded(self) -> str:
        """The beginning of a sentence: who has done what as often as the limit permits."""
        whose = next(word for word in ("actor", "address", "key", "project") if word in self.name.split("-"))
        done = "asked for {:,} completions" if "gateway" in self.name else "sent {:,} events"
        return f"This {whose} has {done.format(self.quota)} within a minute"

    def holder(self, value: str = "") -> str:
        """Returns the name of the counter of `value`, an actor or an address, which cannot be read from it."""
        digest = hashlib.blake2b(f"{self.of}\0{value}".encode("utf-8", "backslashreplace"), digest_size=16)
        return f"thumbwheel:limit:{self.name}:{digest.hexdigest()}"


@dataclass(frozen=True)
class Usage:
    """The counts of a holder: of the present window and of the one before.

    elapsed_ms  milliseconds since the present window began
    """

    limit: Limit
    present: int
    before: int
    elapsed_ms: int

    @property
    def used(self) -> float:
        """The estimated number of events within the last minute."""
        return self.before * (WINDOW_MS - self.elapsed_ms) / WINDOW_MS + self.present

    @property
    def exhausted(self) -> bool:
        return not self.used < self.limit.quota

    @property
    def remaining(self) -> int:
        return max(0, math.ceil(self.limit.quota - self.used))

    @property
    def seconds_to_wait(self) -> int:
        """The seconds until another event would be taken, if none comes in between; 0 if one would be taken now."""
        if not self.exhausted:
            return 0
        left_ms = WINDOW_MS - self.elapsed_ms
        if self.present < self.limit.quota:
            milliseconds = left_ms - (self.limit.quota - self.present) / self.before * WINDOW_MS
        else:
            milliseconds = left_ms + (1 - self.limit.quota / self.present) * WINDOW_MS
        return math.floor(milliseconds / 1000) + 1


def network_of(address: str) -> str:
    """Returns what stands for one client in its address: of IPv6 the /64 network, all of which one client has."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:  # a socket's path, or what a proxy says
        return address
    if isinstance(known, ipaddress.IPv6Address):
        if known.ipv4_mapped is not None:
            return str(known.ipv4_mapped)
        return str(ipaddress.ip_network((known, 64), strict=False))
    return str(known)
