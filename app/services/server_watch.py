"""Restarts embedded servers that die, with growing pauses and a bound."""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.errors import Unavailable
from app.services.processes import EmbeddedServer
from app.services.supervisor import Say, exit_reason

MAX_RESTARTS = 5
WINDOW_SECONDS = 600.0
LONGEST_PAUSE_SECONDS = 30.0


@dataclass
class Restarts:
    """The restarts of one server within the last `WINDOW_SECONDS`."""

    times: deque[float] = field(default_factory=deque)

    def next_pause(self, now: float) -> float | None:
        """Returns the seconds to wait before the next restart: 0, 1, 2, 4, …; None if the bound is reached."""
        while self.times and now - self.times[0] > WINDOW_SECONDS:
            self.times.popleft()
        if len(self.times) >= MAX_RESTARTS:
            return None
        self.times.append(now)
        return min(2.0 ** (len(self.times) - 2), LONGEST_PAUSE_SECONDS) if len(self.times) > 1 else 0.0


class ServerWatch:
    """Watches embedded servers. Use it in the thread that started them: they end with that thread."""

    def __init__(self, say: Say, servers: Mapping[str, EmbeddedServer]) -> None:
        self.say = say
        self.servers = servers
        self.restarts = {name: Restarts() for name in servers}
        self.restart_at: dict[str, float] = {}

    def watch(self) -> None:
        """Restarts servers that died. Raises `Unavailable` if one died more than `MAX_RESTARTS` times."""
        for name, server in self.servers.items():
            now = time.monotonic()
            if name not in self.restart_at and not server.alive():
                self._plan(name, exit_reason(server.process.kill()), now)
            if name in self.restart_at and now >= self.restart_at[name]:
                self._restart(name, server)

    def _plan(self, name: str, reason: str, now: float) -> None:
        pause = self.restarts[name].next_pause(now)
        if pause is None:
            raise Unavailable(
                f"{name} {reason}, after {MAX_RESTARTS} restarts within {WINDOW_SECONDS / 60:.0f} minutes: see its log "
                "in the data folder.",
                code="server_ended",
            )
        self.restart_at[name] = now + pause
        self.say(name, f"{reason}; restarting it" + (f" in {pause:.0f} s" if pause else ""))

    def _restart(self, name: str, server: EmbeddedServer) -> None:
        del self.restart_at[name]
        began = time.monotonic()
        try:
            server.restart()
        except Unavailable as error:
            self._plan(name, f"did not restart ({error.message})", time.monotonic())
            return
        self.say(name, f"is back after {time.monotonic() - began:.1f} s")
