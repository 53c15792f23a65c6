"""The server process of the API: ``python -m app.server``, or `serve()` with another application.

On SIGTERM or SIGINT it refuses new connections, answers every request that has begun, sends `Connection: close` with
each answer, and ends with exit code 0; see docs/decisions/connections-that-end-well.md.
"""

import argparse
import asyncio
import gc
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn, cast

import uvicorn
from fastapi import FastAPI
from uvicorn.config import HTTPProtocolType
from uvicorn.importer import import_from_string

from app import malloc, settings
from app.http_protocol import ApiServerState, Limits, Protocol
from app.main import create_app
from app.settings import Settings

log = logging.getLogger("uvicorn.error")

#: New objects after which the garbage collector runs; the default of 700 falls in the middle of a batch.
GARBAGE_THRESHOLD = 50_000
#: Seconds for which a thread may keep the event loop waiting; the default of 5 ms is several times an event's cost.
SWITCH_SECONDS = 0.0005
#: Ticks of 0.1 s between two checks of the connections' time-outs.
TICKS = 5
POLL_SECONDS = 0.05
#: Open files of a process besides connections: pools, logs, libraries.
OTHER_FILES = 256


class ApiServer(uvicorn.Server):
    """uvicorn's server with limits on connections and a shutdown that finishes open requests."""

    def __init__(self, config: uvicorn.Config, limits: Limits, shutdown_seconds: float) -> None:
        super().__init__(config)
        self.state = ApiServerState(limits)
        self.server_state = self.state
        self.shutdown_seconds = shutdown_seconds

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS == 0:
            self._check_times()
        return await super().on_tick(counter)

    def _check_times(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in self._connections():
            connection.check_time(now)

    def _connections(self) -> list[Protocol]:
        return cast("list[Protocol]", list(self.state.connections))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        log.info("Shutting down")
        self.state.draining = True
        await self._close_listeners()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.shutdown_seconds
        for connection in self._connections():
            connection.shutdown()
        while (self.state.connections or self.state.tasks) and not self.force_exit and loop.time() < deadline:
            await asyncio.sleep(POLL_SECONDS)
            self._check_times()
            for connection in self._connections():
                connection.close_if_idle(loop.time())
        if self.state.tasks or self.state.connections:
            log.error(
                "%d requests on %d connections did not end within %g s and are cut",
                len(self.state.tasks),
                len(self.state.connections),
                self.shutdown_seconds,
            )
        for task in list(self.state.tasks):
            task.cancel(msg="the server's time to shut down is over")
        for connection in self._connections():
            connection.transport.abort()
        await asyncio.sleep(0)
        if not self.force_exit:
            await self.lifespan.shutdown()

    async def _close_listeners(self) -> None:
        """Closes the listening sockets and takes over every connection that the kernel has already accepted."""
        loop = asyncio.get_running_loop()
        listeners = [socket.socket(fileno=os.dup(sock.fileno())) for server in self.servers for sock in server.sockets]
        for server in self.servers:
            server.close()
        waiting: list[socket.socket] = []
        for listener in listeners:
            with listener:
                listener.setblocking(False)  # noqa: FBT003
                try:
                    while True:
                        waiting.append(listener.accept()[0])
                except OSError:
                    continue
        for sock in waiting:
            sock.setblocking(False)  # noqa: FBT003
            await loop.connect_accepted_socket(
                lambda: Protocol(self.config, self.state, self.lifespan.state, loop), sock
            )


def served(
    application: Callable[[], FastAPI],
    chosen: Settings,
    *,
    host: str,
    port: int,
    log_level: str | None = None,
    configure_logs: bool = True,
) -> ApiServer:
    """Returns the server of `application`, not started yet."""
    config = uvicorn.Config(
        application,
        factory=True,
        host=host,
        port=port,
        http=cast("HTTPProtocolType", Protocol),
        ws="none",
        access_log=False,
        log_level=log_level,
        **({} if configure_logs else {"log_config": None}),  # type: ignore[arg-type]
    )
    limits = Limits(
        header_seconds=chosen.header_seconds,
        body_seconds=chosen.body_seconds,
        connections=min(chosen.max_connections, _most_connections(chosen.max_connections)),
    )
    return ApiServer(config, limits, chosen.shutdown_seconds)


def _most_connections(wanted: int) -> int:
    """Raises the limit on open files for `wanted` connections; returns the number of connections that it permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = int(wanted * 1.25) + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else max(1, int((soft - OTHER_FILES) / 1.25))


def create_tuned_app() -> FastAPI:
    """Returns the API, and tunes the memory and threads of this process, which must do nothing else."""
    malloc.settle()
    api = create_app()
    # The objects of now stay. Searching them for garbage again and again would stop all requests for 0.1 s each time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)
    sys.setswitchinterval(SWITCH_SECONDS)
    return api


def serve(application: Callable[[], FastAPI], *, host: str, port: int, log_level: str | None = None) -> None:
    """Serves `application` until SIGTERM or SIGINT, then exits with code 0. Call it in the main thread."""
    # uvicorn's own handlers replace these; once all requests are answered, it raises the signal again.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    served(application, settings.current(), host=host, port=port, log_level=log_level).run()


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m app.server", description="Serve the API.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    parser.add_argument("--log-level", choices=["critical", "error", "warning", "info", "debug"])
    parser.add_argument(
        "--application", metavar="MODULE:FACTORY", help="another application to serve (default: the API)"
    )
    given = parser.parse_args()
    application = import_from_string(given.application) if given.application else create_tuned_app
    serve(application, host=given.host, port=given.port, log_level=given.log_level)


if __name__ == "__main__":
    main()
