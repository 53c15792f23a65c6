"""The gateway of one process: admits requests in OpenAI's shape, and answers them by the targets of the ledger.

    key, scope ─▶ body ─▶ project ─▶ routes ─▶ exchange with a target ─▶ queue of registrations

What a request needs of Postgres is kept in memory and read again in the background, so no request waits for Postgres
once its key and project are known, and answers flow while Postgres is away.
"""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope, Send

from app.access import keys
from app.access.caller import Caller, require
from app.access.limits import Usage
from app.access.rate_limiter import RateLimiter, rate_headers
from app.capacity import Lane
from app.database import new_id
from app.errors import Forbidden, Invalid, NotFound, ThumbwheelError, TooLarge, Unavailable
from app.feedback.ingest.group_commit import Intake
from app.gateway import call_limits, requests
from app.gateway.callers import callers, check_all, secret_of
from app.gateway.counters import Counters
from app.gateway.exchange import Exchange
from app.gateway.figures import by_project
from app.gateway.openai_errors import OpenAIError, of_refusal, openai_error, sendable
from app.gateway.registrations import Registrations
from app.gateway.requests import CHAT_PATH, TEXT_PATH, OpenAIRequest
from app.gateway.rests import Rests
from app.gateway.table import read_all, routing_table
from app.gateway.upstream import Upstream
from app.projects import service as projects
from app.settings import Settings
from app.web.bodies import MAX_COMPLETION_BYTES, reason_not_json, require_decodable, too_large, whole
from app.web.problems import STATUS

log = logging.getLogger(__name__)

MODELS_PATH, FIGURES_PATH, METRICS_PATH = "/v1/models", "/v1/gateway", "/metrics"
USE: Final = "gateway:use"
REFRESH_SECONDS = 1.0
#: Facts that one transaction of the background reads.
KEYS_AT_ONCE, PROJECTS_AT_ONCE = 100, 10
#: Values in the JSON of a request: a prompt may be a list of token ids.
MOST_VALUES = 300_000
UNEXPECTED = "Something unexpected happened; the gateway's log has the details."
PREFIXES = {CHAT_PATH: "chatcmpl-", TEXT_PATH: "cmpl-"}


Key = TypeVar("Key")


class Gateway:
    """Answers requests; made by `gateway()` inside an event loop."""

    def __init__(
        self, intake: Intake, lane: Lane, upstream: Upstream, limiter: RateLimiter | None, chosen: Settings
    ) -> None:
        self._limiter = limiter
        self.counters = Counters()
        self.registrations = Registrations(intake, self.counters)
        self.rests = Rests()
        self._lane = lane
        self._upstream = upstream
        self._most_requests = chosen.gateway_requests
        self._open_metrics = chosen.page_access == "open"
        self._callers = callers(lane)
        self._table = routing_table(lane)
        self._turns = itertools.count()
        self._under_way = 0
        self.counters.gauge("under_way", "Requests that are being answered", lambda: self._under_way)
        self.counters.gauge("waiting", "Completions that wait for their registration", lambda: len(self.registrations))
        self.counters.gauge("waiting_bytes", "Bytes that they take", lambda: self.registrations.bytes)
        self.counters.gauge("postgres_up", "Whether Postgres answers the gateway", lambda: not self.postgres_away)

    @property
    def postgres_away(self) -> bool:
        return self._table.away or self.registrations.away

    @property
    def limits_enforced(self) -> bool:
        return self._limiter is not None and not self._limiter.away

    @property
    def ready(self) -> bool:
        """Returns whether requests can be answered: Postgres is there, or a project is known."""
        return not self._table.away or bool(self._table.known())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request for one of the paths of the gateway."""
        try:
            await self._answer(scope, receive, send)
        except ThumbwheelError as error:
            status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
            await respond(send, of_refusal(error, status))
        except Exception:
            log.exception("unexpected error in %s %s", scope["method"], scope["path"])
            await respond(send, openai_error(500, UNEXPECTED, code="internal_error"))

    async def refresh(self) -> None:
        """Reads keys and routes that are in use again, about every second, until it is cancelled."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await self._read_again()
            except Unavailable:
                self._callers.away = self._table.away = True
            except Exception:
                log.exception("the routes of the gateway cannot be read: the last ones hold")

    async def _read_again(self) -> None:
        """Reads keys first and then routes, a few in each transaction: many would take longer than a lane gives, and
        Postgres would seem to be away.
        """
        for secrets in _parts(self._callers.in_use(), KEYS_AT_ONCE):
            self._callers.take(await self._lane.run(partial(check_all, secrets=secrets)))
        for names in _parts(self._table.in_use(), PROJECTS_AT_ONCE):
            self._table.take(await self._lane.run(partial(read_all, names=names)))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        headers = dict(scope["headers"])
        if path in PREFIXES:
            if method != "POST":
                await respond(send, _not_allowed(method, path, "POST"))
                return
            await self._complete(scope, headers, receive, send)
            return
        if method != "GET":
            await respond(send, _not_allowed(method, path, "GET"))
        elif path == METRICS_PATH:
            await self._metrics(headers, send)
        elif path == FIGURES_PATH:
            await respond_json(send, self._figures(_reader(await self._caller(headers))))
        else:
            await respond_json(send, await self._models(await self._caller(headers), path))

    async def _complete(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        if self._under_way >= self._most_requests:
            busy = f"The gateway answers {self._most_requests} requests already: try again in a moment."
            await respond(send, openai_error(503, busy, code="too_many_requests"))
            return
        self._under_way += 1
        try:
            caller = require(await self._caller(headers), USE)
            body = await _body(headers, receive)
            request = requests.read(scope["path"], body, headers)
            project = _project_of(caller, request, scope["query_string"])
            routes = await self._table.get(project)
            usages: Sequence[Usage] = ()
            if self._limiter is not None:
                asked = request.n * request.prompts
                usages = await self._limiter.count(call_limits.counters(caller, routes, request), asked)
            completion_id = request.given_id or PREFIXES[request.path] + new_id().hex
            exchange = Exchange(
                request, len(body), completion_id, routes, send, upstream=self._upstream, rests=self.rests,
                counters=self.counters, turn=next(self._turns),
                headers=sendable(rate_headers(usages)),
            )  # fmt: skip
            del body
            try:
                await exchange.run(receive)
            finally:
                for written in exchange.written():
                    self.registrations.put(written)
        finally:
            self._under_way -= 1

    async def _caller(self, headers: dict[bytes, bytes]) -> Caller:
        return await self._callers.get(secret_of(headers.get(b"authorization", b"")))

    async def _models(self, caller: Caller, path: str) -> dict[str, Any]:
        require(caller, USE)
        named = path.removeprefix(MODELS_PATH).strip("/")
        if named:
            if caller.project not in (None, named):
                raise _no_model(named, caller.project)
            await self._table.get(named)
            return _model(named)
        names = [caller.project] if caller.project is not None else await self._lane.run(projects.ids)
        return {"object": "list", "data": [_model(name) for name in names]}

    def _figures(self, caller: Caller) -> dict[str, Any]:
        """Returns the figures of this process, of the caller's project alone if its key opens only one."""
        shown = by_project(self.counters, self._table.known(), self.rests.reasons(), caller.project)
        return {
            "postgres": "away" if self.postgres_away else "ok",
            "under_way": self._under_way,
            "waiting": len(self.registrations),
            "waiting_bytes": self.registrations.bytes,
            "registered": sum(each["registered"] for each in shown.values()),
            "unregistered": sum(sum(each["unregistered"].values()) for each in shown.values()),
            "projects": shown,
        }

    async def _metrics(self, headers: dict[bytes, bytes], send: Send) -> None:
        if not self._open_metrics:
            caller = _reader(await self._caller(headers))
            if caller.project is not None:
                raise Forbidden(
                    "The metrics are of all projects, and your key opens one: use a key for all.", code="other_project"
                )
        await respond(send, OpenAIError(200, self.counters.prometheus()), b"text/plain; version=0.0.4; charset=utf-8")


def _parts(keys: list[Key], most: int) -> Iterator[list[Key]]:
    """Yields the keys in parts; an empty one if there are none, which shows whether Postgres is there."""
    for start in range(0, max(1, len(keys)), most):
        yield keys[start : start + most]


def _reader(caller: Caller) -> Caller:
    """Returns a caller that may read figures. Raises `Forbidden`."""
    return caller if keys.allows(caller.scopes, USE) else require(caller, "runs:read")


async def _body(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    """Returns the body of a request, checked as `app.web.bodies.BodyGate` checks it. Raises `Invalid`, `TooLarge`."""
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length[:20]) > MAX_COMPLETION_BYTES:
        raise TooLarge(too_large(MAX_COMPLETION_BYTES), code="too_large")
    reason = reason_not_json(headers.get(b"content-type", b""), headers.get(b"content-encoding", b"identity"))
    if reason is not None:
        raise Invalid(reason, code="not_json")
    body = await whole(receive, MAX_COMPLETION_BYTES)
    if body is None:
        raise TooLarge(too_large(MAX_COMPLETION_BYTES), code="too_large")
    require_decodable(body, MOST_VALUES)
    return body


def _project_of(caller: Caller, request: OpenAIRequest, query: bytes) -> str:
    """Returns the project that `model` names. Raises `NotFound` if the key does not open it."""
    named = _named(query)
    only = caller.project if caller.project is not None else named
    if only is not None and request.model != only:
        raise _no_model(request.model, only)
    if caller.project is not None and named not in (None, caller.project):
        raise _no_model(named or "", caller.project)
    return request.model


def _named(query: bytes) -> str | None:
    return dict(parse_qsl(query.decode("latin-1"))).get("project")


def _no_model(named: str, only: str | None) -> NotFound:
    return NotFound(
        f"There is no model {named!r} for your key: set model to the name of the project, {only!r}."
        if only is not None
        else f"There is no model {named!r}: set model to the name of a project.",
        code="model_not_found",
    )


def _model(project: str) -> dict[str, Any]:
    return {"id": project, "object": "model", "created": 0, "owned_by": "thumbwheel"}


def _not_allowed(method: str, path: str, allowed: str) -> OpenAIError:
    error = openai_error(405, f"{path} takes {allowed} requests, not {method}.", code="method_not_allowed")
    return error._replace(headers=((b"allow", allowed.encode()),))


async def respond(send: Send, answer: OpenAIError, kind: bytes = b"application/json") -> None:
    """Sends a whole answer."""
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(answer.body)), *answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def respond_json(send: Send, document: Any) -> None:
    await respond(send, OpenAIError(200, msgspec.json.encode(document)))


@asynccontextmanager
async def gateway(intake: Intake, lane: Lane, chosen: Settings, limiter: RateLimiter | None) -> AsyncIterator[Gateway]:
    """Provides the gateway for the block, and registers at its end what waits. Without a limiter, nothing is refused
    for its rate."""
    upstream = Upstream(
        first_byte_seconds=chosen.gateway_first_byte_seconds,
        answer_seconds=chosen.gateway_answer_seconds,
        idle_seconds=chosen.gateway_idle_seconds,
    )
    async with upstream:
        running = Gateway(intake, lane, upstream, limiter, chosen)
        refresh = asyncio.create_task(running.refresh(), name="gateway routes")
        try:
            yield running
        finally:
            refresh.cancel()
            await running.registrations.close()
