"""Handles the requests that bring feedback in the event loop, without a thread or a database session."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.types import Receive, Scope, Send
from thumbwheel import wire

from app.access.caller import browser_key
from app.access.limits import Usage
from app.access.rate_limiter import RateLimiter, rate_headers
from app.capacity import Lane
from app.errors import Fault, Faults, Invalid, TooLarge, Unavailable
from app.feedback import signals
from app.feedback.ingest import bodies, browser_events, cors
from app.feedback.ingest.actor_limits import counted_actor, over_limits, refused_item
from app.feedback.ingest.answers import accepted, answer_to_faulty, answer_to_item
from app.feedback.ingest.entries import IngestEntry, completion_entry, event_entry, quick_entry
from app.feedback.ingest.group_commit import Intake
from app.feedback.ingest.kinds import COMPLETION_VALUES, COMPLETIONS, EVENTS, BodyOutcome, Kind
from app.projects.admission import Admission, Admitted, FeedbackRules
from app.web.bodies import (
    JSON_LINES,
    MAX_BODY_BYTES,
    media_type,
    reason_not_json,
    require_decodable,
    too_large,
    whole,
)
from app.web.json_limits import MOST_VALUES
from app.web.problems import problem_response

CREATED, OK, MIXED = 201, 200, 207
#: The number of items of a batch that are read and stored together.
PART = 125
#: Bytes of items that are read before other requests are answered.
READ_AT_ONCE = 64 * 1024
#: The bytes of a batch that is split into its items in a thread.
LONG_BATCH = 256 * 1024


class Receiver:
    """Receives the feedback of one process: admits each request by its key and appends its bodies to the log."""

    def __init__(self, intake: Intake, lane: Lane, limiter: RateLimiter) -> None:
        self._intake = intake
        self._limiter = limiter
        self._admission = Admission("feedback:write", lane)
        self.forget_keys = self._admission.forget

    async def event(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stores an event and then answers.

        Raises `Invalid`, `TooLarge`, `Conflict`, `RateLimited`, and the errors of admission.
        """
        authorization = length = kind = encoding = b""
        chunked = False
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value
            elif name == b"content-length":
                length = value
            elif name == b"content-type":
                kind = value
            elif name == b"content-encoding":
                encoding = value
            elif name == b"transfer-encoding":
                chunked = True
        if length.isdigit() and int(length) > MAX_BODY_BYTES:
            raise TooLarge(too_large(MAX_BODY_BYTES), code="too_large")
        if chunked or length not in (b"", b"0"):
            reason = reason_not_json(kind, encoding or b"identity")
            if reason is not None:
                await problem_response(415, "not_json", reason)(scope, receive, send)
                return
        query = scope["query_string"]
        project, rules = self._admission.remembered(authorization, query) or await self._admission.admit(
            authorization, query
        )
        if rules is not None and rules.origins:
            browser_events.require_origin(rules.origins, cors.header(scope, b"origin"))
        body = await whole(receive, MAX_BODY_BYTES)
        if body is None:
            raise TooLarge(too_large(MAX_BODY_BYTES), code="too_large")
        entry = quick_entry(project, body) or event_entry(project, self._read(EVENTS, wire.Event, project, body))
        usages = () if rules is None else await self._count_event(scope, rules, entry)
        outcome = await self._one(EVENTS, entry, len(body))
        answer = b'{"event_id":' + to_json(outcome.id) + b',"status":"' + outcome.status.encode() + b'"}'
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        if usages:
            headers += [(name.lower().encode(), value.encode()) for name, value in rate_headers(usages).items()]
        status = CREATED if outcome.status == "stored" else OK
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def store(self, project: str, event: wire.Event, rules: FeedbackRules | None) -> BodyOutcome:
        """Stores an event of a project that comes without a key, and returns its outcome.

        rules  the project's

        Raises `Conflict`, `RateLimited`, and `Unavailable`.
        """
        if rules is not None:
            await self._limiter.count(list(rules.counters(actor=event.actor, address=None)))
        return await self._one(EVENTS, event_entry(project, event), 0)

    async def completion(self, request: Request, completion_id: str) -> Response:
        """Registers a completion and then answers. Raises the same errors as `event`."""
        project, rules = await self._admit(request)
        usages = await self._count(request, rules, 1)
        outcome = await self.store_completion(project, completion_id, await request.body())
        return _receipt("completion_id", outcome, rate_headers(usages))

    async def batch(self, request: Request, kind: Kind) -> Response:
        """Stores the valid items of a batch and answers with the outcome of each."""
        project, rules = await self._admit(request)
        lines = media_type(request.headers.get("content-type", "")) in JSON_LINES
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        body = await bodies.whole(request.stream(), encoding)
        if len(body) > LONG_BATCH:
            items = await asyncio.to_thread(bodies.split, body, lines=lines, kind=kind)
        else:
            items = bodies.split(body, lines=lines, kind=kind)
        usages = await self._count(request, rules, len(items))
        answers = await self.store_items(kind, project, items, len(body), rules=rules)
        stored = sum(answer["status"] == "stored" for answer in answers)
        replayed = sum(answer["status"] == "replayed" for answer in answers)
        rejected = len(answers) - stored - replayed
        receipt = {"stored": stored, "replayed": replayed, "rejected": rejected, "items": answers}
        return _json(receipt, MIXED if rejected else OK, rate_headers(usages))

    async def store_items(
        self,
        kind: Kind,
        project: str,
        items: Sequence[Any],
        size: int,
        *,
        rules: FeedbackRules | None = None,
        at_once: int = PART,
    ) -> list[dict[str, Any]]:
        """Stores the valid ones of these items, JSON texts, and returns the outcome of each, as in a `BatchReceipt`.

        While one part is being stored, the next one is read. The parts are stored in their order, since later events of
        an actor count before earlier ones.

        size     of all of them, in bytes
        rules    with the limits of their actors; None for feedback that counts for no actor
        at_once  the number of items that are read and stored together

        Raises `Unavailable`: some of them may be stored then.
        """
        answers: list[dict[str, Any]] = [{} for _ in items]
        reader = bodies.BatchReader(project, kind)
        under_way: asyncio.Task[None] | None = None
        unanswered = 0
        for start in range(0, len(items), at_once):
            entries: dict[int, IngestEntry] = {}
            for index in range(start, min(start + at_once, len(items))):
                body = bytes(items[index])
                item = reader.read(body)
                unanswered += len(body)
                if isinstance(item, IngestEntry):
                    entries[index] = item
                else:
                    self._intake.figures.count(kind.name, project, "invalid")
                    answers[index] = answer_to_faulty(kind, index, *item)
                    unanswered = READ_AT_ONCE  # the faults of an item take long
                if unanswered >= READ_AT_ONCE:
                    await asyncio.sleep(0)
                    unanswered = 0
            if kind is EVENTS:
                for index, seconds in (await over_limits(self._limiter, rules, entries)).items():
                    answers[index] = refused_item(index, entries.pop(index), seconds)
            if under_way is not None:
                await under_way
            under_way = asyncio.create_task(self._part(kind, entries, answers, size * len(entries) // len(items)))
            await asyncio.sleep(0)
        if under_way is not None:
            await under_way
        return answers

    async def store_completion(self, project: str, completion_id: str, body: bytes) -> BodyOutcome:
        """Registers a completion of a project and returns its outcome. Raises `Invalid`, `Conflict`, `Unavailable`."""
        completion = self._read(COMPLETIONS, wire.Completion, project, body, COMPLETION_VALUES)
        entry = completion_entry(project, completion_id, completion)
        return await self._one(COMPLETIONS, entry, len(body))

    async def _part(
        self, kind: Kind, entries: Mapping[int, IngestEntry], answers: list[dict[str, Any]], size: int
    ) -> None:
        outcomes = await self._intake.record(kind, list(entries.values()), size)
        for (index, entry), outcome in zip(entries.items(), outcomes, strict=True):
            if isinstance(outcome, Unavailable):
                raise outcome
            answers[index] = answer_to_item(kind, index, entry.row[1], outcome)

    async def _count_event(self, scope: Scope, rules: FeedbackRules, entry: IngestEntry) -> Sequence[Usage]:
        """Checks the rules for a single event, and counts it. Raises `Invalid` and `RateLimited`."""
        if rules.origins:
            browser_events.require_permitted(entry.row)
        return await self._limiter.count(list(rules.counters(actor=counted_actor(entry), address=_address(scope))))

    async def _count(self, request: Request, rules: FeedbackRules | None, events: int) -> Sequence[Usage]:
        if rules is None or not events:
            return ()
        return await self._limiter.count(list(rules.counters(actor=None, address=_address(request.scope))), events)

    async def _admit(self, request: Request) -> Admitted:
        """Admits a request that is no single event. Raises the errors of admission, and `Forbidden`."""
        authorization = request.headers.get("authorization", "").encode("latin-1")
        admitted = await self._admission.admit(authorization, request.scope["query_string"])
        if admitted.rules is not None and admitted.rules.origins:
            raise browser_key()
        return admitted

    def _read(
        self, kind: Kind, model: type[BaseModel], project: str, body: bytes, most_values: int = MOST_VALUES
    ) -> Any:
        try:
            return _read(model, body, most_values)
        except Invalid:
            self._intake.figures.count(kind.name, project, "invalid")
            raise

    async def _one(self, kind: Kind, entry: IngestEntry, size: int) -> BodyOutcome:
        [outcome] = await self._intake.record(kind, [entry], size)
        return accepted(kind, outcome)


def _address(scope: Scope) -> str | None:
    client = scope["client"]
    return None if client is None else client[0]


def _read(model: type[BaseModel], body: bytes, most_values: int = MOST_VALUES) -> Any:
    require_decodable(body, most_values)
    try:
        result = signals.read(model, body)
    except ValueError as error:
        raise Invalid(
            f"The body is not valid JSON: {error}.", code="invalid_json", faults=[Fault("/", "is not valid JSON")]
        ) from error
    if not isinstance(result, list):
        return result
    faults = Faults((Fault(fault.pointer or "/", fault.message) for fault in result), result.total)
    raise Invalid(faults.sentence(), code="invalid_request", faults=faults)


def _receipt(name: str, outcome: BodyOutcome, headers: dict[str, str]) -> Response:
    return _json({name: outcome.id, "status": outcome.status}, CREATED if outcome.status == "stored" else OK, headers)


def _json(value: Any, status: int, headers: dict[str, str]) -> Response:
    return Response(to_json(value), status, headers, media_type="application/json")
