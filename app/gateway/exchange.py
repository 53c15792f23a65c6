"""One request, from its routes to the registration of what was written for it.

    routes ─▶ the first target that answers ─▶ chunk by chunk to the caller ─▶ registration

Nothing is sent to the caller before a target's first byte, so a target that fails until then gives way to the next.
The next chunk is read once the caller has taken the one before: a slow reader slows its target, and fills no memory.
"""

import asyncio
import logging
import time
from collections.abc import Sequence

from starlette.types import Receive, Send
from thumbwheel.openai_shape.choices import choice_id

from app.gateway.answers import GatewayAnswer
from app.gateway.counters import Counters
from app.gateway.event_stream import DONE, EventLines, LineTooLong, data_of, event
from app.gateway.openai_errors import OpenAIError, of_target, openai_error
from app.gateway.requests import OpenAIRequest, sent_to_target
from app.gateway.rests import Rests
from app.gateway.routes import ProjectRoutes, Route, in_order
from app.gateway.upstream import MOST_REFUSAL_BYTES, AnswerCut, TargetFailed, Upstream, UpstreamAnswer
from app.gateway.written import WrittenCompletion, size_of

log = logging.getLogger(__name__)

#: Targets that are tried for one request; each may take the whole time for its first byte.
MOST_ATTEMPTS = 3
#: No proxy may collect the events of a stream.
STREAM_HEADERS = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
#: The longest time for which a caller may take nothing of what is sent.
TAKE_SECONDS = 60.0


class CallerGone(Exception):
    """The caller hung up, or takes nothing any more."""


class Exchange:
    """Answers one request. `written` is empty until its end."""

    def __init__(
        self,
        request: OpenAIRequest,
        request_bytes: int,
        completion_id: str,
        routes: ProjectRoutes,
        send: Send,
        *,
        upstream: Upstream,
        rests: Rests,
        counters: Counters,
        turn: int,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self._request = request
        self._request_bytes = request_bytes
        self._routes = routes
        self._send = send
        self._upstream = upstream
        self._rests = rests
        self._counters = counters
        self._turn = turn
        self._headers = headers
        self._began = time.monotonic()
        self._answer = GatewayAnswer(request, completion_id)
        self._route: Route | None = None
        self._ended: str | None = None
        self._started = False
        self._done = False
        self.status = 0

    async def run(self, receive: Receive) -> None:
        """Answers the request, until its end or until the caller hangs up. Raises what is unexpected."""
        task = asyncio.current_task()
        assert task is not None
        hung_up = False

        async def watch() -> None:
            nonlocal hung_up
            while (await receive())["type"] != "http.disconnect":
                pass
            hung_up = True
            task.cancel()

        watcher = asyncio.create_task(watch())
        try:
            await self._run()
        except asyncio.CancelledError:
            self._ended = "client_closed" if hung_up else "shutdown"
            if not hung_up:
                raise
            task.uncancel()
        except CallerGone:
            self._ended = "client_closed"
        except Exception:
            self._ended = "failed"
            if not self._started:
                raise
            log.exception("an answer for project %s ended early", self._routes.project)
        finally:
            watcher.cancel()
            self._count()

    def written(self) -> list[WrittenCompletion]:
        """Returns what was written, for the registrations."""
        if self._route is None or self.status != 200:
            return []
        request, route = self._request, self._route
        return [
            WrittenCompletion(
                project=self._routes.project,
                completion_id=choice_id(self._answer.completion_id, index, request.choices),
                request=request,
                index=index,
                output=output,
                checkpoint_id=route.checkpoint_id,
                target=route.target,
                model=route.model,
                ended=None if output.finish_reason else self._ended,
                size=size_of(self._request_bytes, output),
            )
            for index, output in self._answer.outputs().items()
        ]

    async def _run(self) -> None:
        answer = await self._first_answer()
        if isinstance(answer, OpenAIError):
            await self._refuse(answer)
            return
        try:
            if answer.status != 200:
                await self._refuse(of_target(answer.status, await answer.whole(MOST_REFUSAL_BYTES)))
            elif self._request.stream and answer.streamed:
                await self._stream(answer)
            else:
                await self._whole(answer)
            answer.finish()
        except AnswerCut as error:
            self._ended = "target_cut"
            await self._cut(f"The server that serves the model failed in the middle of its answer: {error}.")
        finally:
            answer.close()

    async def _first_answer(self) -> UpstreamAnswer | OpenAIError:
        """Asks one target after the other until one answers."""
        reason = self._no_target()
        attempts = 0
        for route in in_order(self._routes.for_actor(self._request.actor), self._turn, self._rests_now):
            if attempts == MOST_ATTEMPTS:
                break
            attempts += 1
            body = sent_to_target(self._request, route.model, route.kind)
            try:
                answer = await self._upstream.send(route, self._request.path, body, streamed=self._request.stream)
            except TargetFailed as error:
                reason = f"target {route.target}: {error}"
                self._counters.target_failed(self._routes.project, route.target)
                if self._rests.failed(route.endpoint, str(error)):  # without the name: projects may share it
                    log.warning("project %s, %s", self._routes.project, reason)
                continue
            self._rests.answered(route.endpoint)
            self._route = route
            self._counters.first_byte(self._routes.project, time.monotonic() - self._began)
            return answer
        return openai_error(
            503, f"No server answers for project {self._routes.project} now ({reason}): try again.", code="no_target"
        )

    def _rests_now(self, route: Route) -> bool:
        return self._rests.rests(route.endpoint)

    def _no_target(self) -> str:
        if self._routes.keyless:
            return f"no environment variable of the gateway holds the key of target {self._routes.keyless[0]}"
        return "no serving target has its checkpoint: see `thumbwheel serving show`"

    async def _stream(self, answer: UpstreamAnswer) -> None:
        lines = EventLines()
        try:
            async for received in answer.chunks():
                rewritten = self._rewritten(lines.lines(received))
                if rewritten:
                    await self._body(rewritten)
        except LineTooLong:
            raise AnswerCut("one of its events has no end") from None
        rewritten = self._rewritten(lines.end())
        if rewritten:
            await self._body(rewritten)
        if not (self._done or self._answer.finished):
            raise AnswerCut("it ended early")
        await self._end()

    def _rewritten(self, lines: list[bytes]) -> bytes:
        parts = []
        for line in lines:
            data = data_of(line)
            if data is None:
                parts.append(line + b"\n\n" if line.startswith(b":") else line + b"\n")
            elif data == DONE:
                self._done = True
                parts.append(event(DONE))
            else:
                try:
                    chunk = self._answer.rewritten(data)
                except ValueError as error:
                    raise AnswerCut("it sent an event that is no JSON object") from error
                if chunk is not None:
                    parts.append(event(chunk))
                if self._answer.failed:
                    self._ended = "target_cut"
        return b"".join(parts)

    async def _whole(self, answer: UpstreamAnswer) -> None:
        body = await answer.whole()
        try:
            rewritten = self._answer.rewritten(body)
        except ValueError as error:
            raise AnswerCut("its answer is no JSON object") from error
        assert rewritten is not None
        await self._start(200, b"application/json", len(rewritten))
        await self._body(rewritten)
        await self._end()

    async def _cut(self, message: str) -> None:
        """Ends the answer with the error: as an event of a stream that has begun, else as the whole answer."""
        error = openai_error(502, message, code="target_cut")
        if not self._started:
            await self._refuse(error)
            return
        await self._body(event(error.body) + event(DONE))
        await self._end()

    async def _refuse(self, error: OpenAIError) -> None:
        await self._start(error.status, b"application/json", len(error.body), error.headers)
        await self._body(error.body)
        await self._end()

    async def _start(
        self, status: int, kind: bytes, length: int | None = None, more: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        self._started = True
        self.status = status
        named = (b"x-thumbwheel-completion-id", self._answer.completion_id.encode())
        headers = [(b"content-type", kind), named, *self._headers, *more]
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        if self._route is not None:
            headers.append((b"x-thumbwheel-checkpoint", str(self._route.checkpoint_id).encode()))
            if self._route.release is not None:
                headers.append((b"x-thumbwheel-release", b"%d" % self._route.release))
        await self._take({"type": "http.response.start", "status": status, "headers": headers})

    async def _body(self, part: bytes) -> None:
        if not self._started:
            await self._start(200, b"text/event-stream; charset=utf-8", None, STREAM_HEADERS)
        await self._take({"type": "http.response.body", "body": part, "more_body": True})

    async def _end(self) -> None:
        await self._take({"type": "http.response.body", "body": b""})

    async def _take(self, message: dict[str, object]) -> None:
        try:
            async with asyncio.timeout(TAKE_SECONDS):
                await self._send(message)
        except TimeoutError:
            raise CallerGone from None

    def _count(self) -> None:
        project = self._routes.project
        self._counters.request(project, self.status or 499)
        self._counters.finished(project, time.monotonic() - self._began)
        if self._ended is not None:
            self._counters.cut(project, self._ended)
