"""Answers the probes of load balancers and orchestrators, without a key, a line in the log, or waiting for others."""

import asyncio
import time
from contextlib import suppress
from functools import cache
from typing import Literal

import redis.asyncio
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.orm import Session

from app import settings
from app.capacity import Coalesced, Lane
from app.cli.migrate import configuration
from app.database import Purpose
from app.errors import Unavailable
from app.feedback.ingest.group_commit import Intake
from app.projects.protection import service as protections
from app.web.problems import problems

health = APIRouter(tags=["health"])

#: The longest times that a probe takes.
READY_SECONDS, REDIS_SECONDS = 0.9, 0.5
#: A result answers further probes for this time.
KEPT_SECONDS = 0.5


class Live(BaseModel):
    status: Literal["live"] = "live"


class Ready(BaseModel):
    status: Literal["ready"] = "ready"
    redis: Literal["ok", "away"] = Field(description="while Redis is away, events are stored and messages wait")
    limits: Literal["enforced", "not enforced"] = Field(
        description="of events within a minute: while Redis is away, none is refused for its rate"
    )


@health.get("/livez", operation_id="live", summary="Show that the process answers", response_model=Live)
async def live() -> Live:
    """Shows that the process answers. It does not check Postgres or Redis, which a restart would not help."""
    return Live()


@health.get(
    "/readyz",
    operation_id="ready",
    summary="Show whether the process can take requests",
    response_model=Ready,
    responses={503: problems()[503]},
)
async def ready(request: Request) -> Ready:
    """Shows that Postgres answers within a second, has current tables and takes events, and that this process has the
    key of the pseudonyms that are stored there. Redis may be away."""
    readiness: ReadinessProbe = request.app.state.readiness
    return await readiness()


class ReadinessProbe:
    """Checks whether this process can take requests, once for all probes that come within `KEPT_SECONDS`."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._lane = Lane(Purpose.PROBES, READY_SECONDS, read_only=False)  # it asks whether Postgres takes writes
        self._look = Coalesced(self._found)
        self._kept: tuple[float, Ready] | None = None
        self._revisions = asyncio.get_running_loop().run_in_executor(None, _revisions)  # slow the first time

    async def __call__(self) -> Ready:
        """Returns the result of the checks. Raises `Unavailable`, with the reason, if one fails."""
        if self._kept is not None and time.monotonic() - self._kept[0] < KEPT_SECONDS:
            return self._kept[1]
        return await self._look(None)

    def close(self) -> None:
        self._lane.close()

    async def _found(self, _: None) -> Ready:
        self._kept = None
        await self._revisions
        broker = asyncio.create_task(_redis_answers())
        try:
            await self._lane.run(_require_postgres)
            async with asyncio.timeout(READY_SECONDS):
                await self._intake.require_writable()
            answers = await broker
            ready = Ready(redis="ok" if answers else "away", limits="enforced" if answers else "not enforced")
        except TimeoutError as error:
            raise Unavailable(
                "Postgres takes no events within a second: run `thumbwheel doctor` for details.", code="database_busy"
            ) from error
        finally:
            broker.cancel()
        self._kept = (time.monotonic(), ready)
        return ready


@cache
def _revisions() -> tuple[str | None, frozenset[str]]:
    """Returns the newest version of the tables that this code knows, and all versions."""
    from alembic.script import ScriptDirectory  # takes half a second, which would delay each start

    scripts = ScriptDirectory.from_config(configuration())
    return scripts.get_current_head(), frozenset(script.revision for script in scripts.walk_revisions())


def _require_postgres(session: Session) -> None:
    """Raises `Unavailable` if Postgres takes no writes, its tables are older than this code, or its pseudonyms were
    made by another key. Newer tables are accepted, since an update may be under way."""
    migrated, read_only = session.execute(
        text("SELECT to_regclass('alembic_version') IS NOT NULL, current_setting('transaction_read_only') = 'on'")
    ).one()
    at = session.scalar(text("SELECT version_num FROM alembic_version")) if migrated else None
    head, known = _revisions()
    if at is None or (at in known and at != head):
        raise Unavailable(f"The tables are at {at}, not at {head}: run `thumbwheel migrate`.", code="not_migrated")
    trouble = protections.trouble_with_key(session)
    if trouble is not None:
        raise Unavailable(trouble, code="pseudonym_key")
    if read_only:
        raise Unavailable(
            "Postgres takes no writes, and so no feedback: it is a standby, or was set to read only.",
            code="database_read_only",
        )


async def _redis_answers() -> bool:
    client = redis.asyncio.Redis.from_url(
        settings.current().need_redis(), socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS
    )
    try:
        async with asyncio.timeout(REDIS_SECONDS):
            return bool(await client.ping())
    except (RedisError, OSError, TimeoutError):
        return False
    finally:
        with suppress(RedisError, OSError, TimeoutError):
            await client.aclose()
