"""`create_app()`: the web process, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from app import outbox, settings, telemetry
from app.access.api import router as access
from app.projects.api import router as projects
from app.web import install_error_handlers

TITLE = "Thumbwheel"
DESCRIPTION = """\
Turns production thumbs into better models: events in, snapshot, KTO against what shipped last, gates, release.

Every request carries an API key as `Authorization: Bearer tw_…`. Errors are problem details (RFC 9457) with a stable
`code`. Listings come in pages: give `next_cursor` as `cursor`. A 2xx means that it is committed.
"""
TAGS = [
    {"name": "feedback", "description": "Events: what the model said and what the user thought of it."},
    {"name": "projects", "description": "One product whose model is improved, and what stands in the way of a run."},
    {"name": "runs", "description": "Retraining jobs."},
    {"name": "checkpoints", "description": "Immutable weights with manifest and card."},
    {"name": "releases", "description": "The ledger of what was shipped when, and why."},
    {"name": "loop", "description": "Why a run started by itself, or did not."},
    {"name": "keys", "description": "Who may call."},
    {"name": "health", "description": "For probes: no key needed."},
]
ROUTERS = [access, projects]


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    with outbox.relay():
        yield


def create_app() -> FastAPI:
    """The API on the servers that the settings name. Raises `Invalid` where a setting is missing or wrong."""
    telemetry.configure()
    settings.current().need_database()
    settings.current().need_redis()
    api = FastAPI(
        title=TITLE,
        description=DESCRIPTION,
        version=version("thumbwheel-server"),
        openapi_tags=TAGS,
        lifespan=_lifespan,
    )
    install_error_handlers(api)
    for router in ROUTERS:
        api.include_router(router)
    return api
