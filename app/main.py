"""`create_app()`: assembles the API."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from thumbwheel.wire.run_events import RUN_EVENTS
from thumbwheel.wire.webhooks import WEBHOOKS

from app import outbox, settings, telemetry
from app.access.api import router as access
from app.access.key_changes import listening
from app.access.known_keys import KnownKeys
from app.access.operator_log.api import router as operator_log
from app.access.rate_limiter import RateLimiter
from app.capacity import Capacity, Lane
from app.checkpoints.api import router as checkpoints
from app.checkpoints.outcomes.api import router as suite_outcomes
from app.checkpoints.samples.api import router as samples
from app.dashboard.api import STATIC
from app.dashboard.api import router as dashboard
from app.dashboard.api_reference import ASSETS_PATH, assets
from app.dashboard.api_reference import router as api_reference
from app.dashboard.cache import Remembered
from app.dashboard.error_pages import ErrorPages
from app.dashboard.vote_page import router as vote_page
from app.database import Purpose
from app.feedback.api import BATCH_PATH, COMPLETION_BATCH_PATH, COMPLETIONS_PATH, MODELS
from app.feedback.api import router as feedback
from app.feedback.copying.api import LOG_PATH
from app.feedback.copying.api import router as log_copies
from app.feedback.import_jobs.api import IMPORTS_PATH
from app.feedback.import_jobs.api import router as imports
from app.feedback.import_jobs.receiving import UploadReceiver
from app.feedback.ingest.fast_path import EVENT_PATH, IngestFastPath
from app.feedback.ingest.group_commit import intake
from app.feedback.ingest.receiver import Receiver
from app.feedback.vote_links.api import router as vote_links
from app.gates.api import router as gates
from app.gateway.api import MODELS as GATEWAY_MODELS
from app.gateway.api import router as gateway_router
from app.gateway.fast_path import PATHS as GATEWAY_PATHS
from app.gateway.fast_path import GatewayFastPath
from app.gateway.gateway import gateway
from app.health import ReadinessProbe, health
from app.labels.api import router as labels
from app.labels.audits.api import router as audits
from app.labels.listing.api import router as label_listing
from app.labels.policies.api import router as label_policies
from app.labels.previews.api import below_completion
from app.labels.previews.api import router as previews
from app.labels.quarantine.api import router as quarantine
from app.loop.api import router as loop
from app.metrics.api import router as metrics
from app.metrics.process import ProcessFigures
from app.metrics.service import MetricsEndpoint
from app.monitoring.api import router as monitoring
from app.privacy.copied_erasures.api import router as copied_erasures
from app.privacy.erasures.api import router as erasures
from app.privacy.holds.api import router as holds
from app.privacy.receipts.api import router as receipts
from app.privacy.retention.api import router as retention
from app.project_setup.api import router as project_setup
from app.projects.api import router as projects
from app.releases.api import router as releases
from app.releases.current import CURRENT_PATH, CurrentReleaseEndpoint, CurrentReleaseFastPath
from app.runs import service as run_service
from app.runs.api import router as runs
from app.runs.comparisons.api import router as comparisons
from app.runs.stream.api import router as run_events
from app.runs.stream.shutdown import called_on_shutdown
from app.runs.stream.streams import Streams
from app.serving.api import router as serving
from app.snapshots.reading.api import router as snapshots
from app.suites.versions.api import router as suites
from app.web.bodies import METHODS_WITH_BODY, BodyGate
from app.web.problems import Problem, install_error_handlers, problems
from app.web.request_times import MeasuredRequests, RequestTimes
from app.webhooks.deliveries.api import router as webhook_deliveries
from app.webhooks.endpoints.api import router as webhook_endpoints

DESCRIPTION = """\
Turns production thumbs into better models: events in, snapshot, KTO against what shipped last, gates, release.

Every request carries an API key as `Authorization: Bearer tw_…`. Errors are problem details (RFC 9457) with a stable
`code`, and list the first 20 faults of a body. A body holds 1 MiB at most (a registered completion 4 MiB, a batch
16 MiB), 20,000 values and 100 levels; an uploaded file has a limit of its own. Any request may be answered with 400 (it
is not valid HTTP), 404 or 405 (the path or method is unknown; no path ends with a slash), 408 (it did not arrive in
time), 414 or 431 (its address or its headers are too long), or 503 (the server is overloaded: retry after `Retry-After`
seconds). Listings come in pages: pass `next_cursor` as `cursor`. A 2xx means that the change is committed.
"""
TAGS = [
    {"name": "feedback", "description": "Events: what the model said and what the user thought of it."},
    {"name": "imports", "description": "Files of feedback that are uploaded and imported in the background."},
    {"name": "labels", "description": "Labels of completions, derived from their events."},
    {"name": "projects", "description": "Products whose models are improved, and their readiness for a run."},
    {"name": "gates", "description": "Rules on the evaluation of checkpoints, and which of them are in use."},
    {"name": "runs", "description": "Retraining jobs, and the reasons for automatic starts."},
    {"name": "comparisons", "description": "Arms and points of a recipe, trained on the same snapshot and compared."},
    {"name": "snapshots", "description": "Immutable datasets that runs learn from."},
    {"name": "suites", "description": "Prompts with assertions about outputs, which evaluations run."},
    {"name": "checkpoints", "description": "Immutable weights with manifest and card."},
    {"name": "releases", "description": "The ledger of shipped checkpoints, with times and reasons."},
    {"name": "serving", "description": "Servers and folders that serve checkpoints: what each should serve, and does."},
    {
        "name": "gateway",
        "description": "Completions in OpenAI's shape by the serving targets, registered for feedback.",
    },
    {"name": "privacy", "description": "Erasure of actors, retention, legal holds, and the receipt of an event."},
    {"name": "webhooks", "description": "Endpoints that events of a project are sent to, and the log of deliveries."},
    {"name": "keys", "description": "API keys, and the log of what operators did with them."},
    {"name": "health", "description": "Health checks for probes; no key needed."},
    {"name": "metrics", "description": "Figures of the server and of its projects for Prometheus."},
]


def describe(api: FastAPI) -> dict[str, Any]:
    """Returns the OpenAPI document, with the schemas of problems and of the bodies that the receiver reads itself."""
    if api.openapi_schema is None:
        document = get_openapi(
            title=api.title,
            version=api.version,
            description=api.description,
            routes=api.routes,
            tags=api.openapi_tags,
        )
        models: list[tuple[type[BaseModel], Literal["validation", "serialization"]]]
        models = [(Problem, "serialization"), *((model, "validation") for model in (*MODELS, *GATEWAY_MODELS))]
        models += [(model, "serialization") for model in (*RUN_EVENTS.values(), *WEBHOOKS.values())]
        _, shapes = models_json_schema(models, ref_template="#/components/schemas/{model}")
        document["components"]["schemas"] |= shapes["$defs"]
        _describe_bodies(document)
        document["webhooks"] = {name: {"post": _webhook(name, model)} for name, model in WEBHOOKS.items()}
        api.openapi_schema = document
    return api.openapi_schema


def _webhook(name: str, model: type[BaseModel]) -> dict[str, Any]:
    """Returns the description of the request that a receiver gets for events of this type."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {
        "operationId": f"on_{name.replace('.', '_')}",
        "tags": ["webhooks"],
        "summary": (model.__doc__ or name).partition(".")[0],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"2XX": {"description": "The event has arrived; any other status is tried again"}},
    }


def _describe_bodies(document: dict[str, Any]) -> None:
    """Adds the answers of `BodyGate` to every operation whose method may have a body."""
    answers = {str(status): answer for status, answer in problems().items()}
    answers |= {str(status): problems(413, 415)[status] for status in (413, 415)}
    for operations in document["paths"].values():
        for method, operation in operations.items():
            if method.upper() in METHODS_WITH_BODY and "gateway" not in operation["tags"]:  # its errors are OpenAI's
                operation["responses"] = dict(sorted({**operation["responses"], **answers}.items()))


#: In the order of the OpenAPI document, in which paths are matched too: paths below a completion come before
#: completions, whose ids may hold any character.
ROUTERS = (
    below_completion,
    receipts,
    feedback,
    vote_links,
    log_copies,
    imports,
    labels,
    label_listing,
    label_policies,
    previews,
    audits,
    quarantine,
    project_setup,
    projects,
    gates,
    runs,
    comparisons,
    run_events,
    loop,
    snapshots,
    suites,
    checkpoints,
    suite_outcomes,
    samples,
    releases,
    monitoring,
    serving,
    gateway_router,
    erasures,
    copied_erasures,
    holds,
    retention,
    webhook_endpoints,
    webhook_deliveries,
    access,
    operator_log,
    health,
    metrics,
    dashboard,
    vote_page,
    api_reference,
)


@asynccontextmanager
async def _lifespan(api: FastAPI) -> AsyncIterator[None]:
    settings.current().need_redis()
    api.state.capacity = capacity = Capacity()
    api.state.uploads = UploadReceiver(capacity)
    api.state.hot_lane = lane = Lane(Purpose.HOT)
    api.state.page_readiness = Remembered(run_service.readiness)
    api.state.streams = streams = Streams()
    limiter = RateLimiter(settings.current().need_redis())
    database_url = settings.current().need_libpq_database()
    async with intake(database_url) as way_in, AsyncExitStack() as optional:
        api.state.gateway = None
        if settings.current().gateway:
            running = gateway(way_in, lane, settings.current(), limiter)
            api.state.gateway = await optional.enter_async_context(running)
        api.state.readiness = readiness = ReadinessProbe(way_in)
        api.state.receiver = receiver = Receiver(way_in, lane, limiter)
        api.state.event_answerer = receiver.event
        api.state.known_keys = known_keys = KnownKeys(lane)
        api.state.current_release = CurrentReleaseEndpoint(lane)
        parts = [api.state.gateway.counters.registry] if api.state.gateway is not None else []
        process_figures = ProcessFigures(api.state.request_times, way_in, capacity, parts)
        api.state.metrics = figures = MetricsEndpoint(process_figures, lane)

        def forget_keys() -> None:
            known_keys.forget()
            receiver.forget_keys()

        with outbox.relay(), called_on_shutdown(streams.stop):
            async with listening(database_url, forget_keys):
                yield
        figures.close()
        readiness.close()
    await limiter.close()
    lane.close()


def create_app() -> FastAPI:
    """Returns the API on the servers that the settings name; it does not start without them."""
    telemetry.configure()
    api = FastAPI(
        title="Thumbwheel",
        description=DESCRIPTION,
        version=version("thumbwheel-server"),
        openapi_tags=TAGS,
        lifespan=_lifespan,
        docs_url=None,  # app.dashboard.api_reference needs no CDN
        redoc_url=None,
        redirect_slashes=False,  # a path that ends with a slash is 404, as documented, not a redirect without a body
    )

    async def authenticate(authorization: bytes) -> None:
        known_keys: KnownKeys = api.state.known_keys
        await known_keys.require(authorization)

    api.add_middleware(
        BodyGate,
        authenticate=authenticate,
        batches={BATCH_PATH, COMPLETION_BATCH_PATH, LOG_PATH},
        streamed=(BATCH_PATH, COMPLETIONS_PATH),
        files={IMPORTS_PATH},
    )
    api.add_middleware(ErrorPages)
    # The last one added runs first: these operations bypass the two at the top.
    api.add_middleware(CurrentReleaseFastPath)
    api.add_middleware(IngestFastPath)
    api.add_middleware(GatewayFastPath)
    api.state.request_times = times = RequestTimes()
    api.add_middleware(
        MeasuredRequests,
        times=times,
        exact={EVENT_PATH, BATCH_PATH, COMPLETION_BATCH_PATH, CURRENT_PATH, *GATEWAY_PATHS},
    )
    install_error_handlers(api)
    for router in ROUTERS:
        api.include_router(router)
    api.mount("/static", StaticFiles(directory=STATIC))
    api.mount(ASSETS_PATH, assets())
    api.openapi = lambda: describe(api)  # type: ignore[method-assign]
    return api
