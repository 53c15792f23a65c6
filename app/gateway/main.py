"""`create_gateway()`: the gateway as a process of its own, run by `thumbwheel gateway`."""

import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from app import malloc, settings, telemetry
from app.access.key_changes import listening
from app.access.rate_limiter import RateLimiter
from app.capacity import Lane
from app.database import Purpose
from app.feedback.ingest.group_commit import intake
from app.gateway.fast_path import GatewayFastPath
from app.gateway.gateway import METRICS_PATH, Gateway, gateway
from app.web.problems import install_error_handlers

#: As in `app.server`: search for garbage less often, and let no thread keep the event loop waiting.
GARBAGE_THRESHOLD = 50_000
SWITCH_SECONDS = 0.0005


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    chosen = settings.current()
    database_url = chosen.need_libpq_database()
    lane = Lane(Purpose.HOT)
    limiter = None if chosen.redis_url is None else RateLimiter(str(chosen.redis_url))
    try:
        async with (
            intake(database_url) as way_in,
            gateway(way_in, lane, chosen, limiter) as app.state.gateway,
            listening(database_url, lambda: None),  # for last uses: the gateway reads keys every second anyway
        ):
            yield
    finally:
        if limiter is not None:
            await limiter.close()
        lane.close()


def create_gateway() -> FastAPI:
    """Returns the application. It starts without Postgres, and answers once it has found a key and a project there."""
    telemetry.configure()
    settings.current().need_database()
    app = FastAPI(
        title="Thumbwheel gateway", lifespan=_lifespan, docs_url=None, redoc_url=None, openapi_url=None,
        redirect_slashes=False,
    )  # fmt: skip
    install_error_handlers(app)

    @app.get("/livez")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @app.get("/readyz")
    async def ready() -> Any:
        running: Gateway = app.state.gateway
        postgres = "away" if running.postgres_away else "ok"
        status = "ready" if running.ready else "not_ready"
        limits = "enforced" if running.limits_enforced else "not enforced"
        document = {"status": status, "postgres": postgres, "limits": limits}
        return JSONResponse(document, 200 if running.ready else 503)

    app.add_middleware(GatewayFastPath, more=frozenset({METRICS_PATH}))
    return app


def create_tuned_gateway() -> FastAPI:
    """Returns the application, and tunes the memory and threads of this process, which must do nothing else."""
    malloc.settle()
    app = create_gateway()
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)
    sys.setswitchinterval(SWITCH_SECONDS)
    return app
