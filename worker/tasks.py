"""The tasks of `app.messages`: one call each."""

from uuid import UUID

from app import messages
from app.database import transaction
from app.loop import service as loop
from app.privacy.erasures import service as erasures
from app.privacy.retention import service as retention
from app.runs.comparisons import service as comparisons
from app.serving import service as serving
from worker.execute import look
from worker.imports import imports
from worker.main import app, stopping
from worker.serving.background import begin_sync
from worker.staging.sweep import sweep
from worker.webhook_senders import senders


@app.task(name=messages.LOOK_AT_RUN.name)
def look_at_run(run_id: str) -> None:
    look(UUID(run_id), stopping)
    sweep()


@app.task(name=messages.TICK.name)
def tick() -> None:
    loop.tick()
    sweep()


@app.task(name=messages.LOOK_AT_COMPARISON.name)
def look_at_comparison(comparison_id: str) -> None:
    comparisons.look_at(UUID(comparison_id))


@app.task(name=messages.ERASE.name)
def erase(erasure_id: str) -> None:
    erasures.advance(UUID(erasure_id))


@app.task(name=messages.EXPIRE_MONTH.name)
def expire_month(record_id: str) -> None:
    retention.advance(UUID(record_id))


@app.task(name=messages.DELIVER_WEBHOOKS.name)
def deliver_webhooks(endpoint_id: str) -> None:
    senders.look_at(UUID(endpoint_id))


@app.task(name=messages.LOOK_AT_RELEASE.name)
def look_at_release(release_id: str) -> None:
    with transaction() as session:
        serving.look_at_release(session, UUID(release_id))


@app.task(name=messages.SYNC_TARGET.name)
def sync_target(target_id: str) -> None:
    begin_sync(UUID(target_id))


@app.task(name=messages.LOOK_AT_IMPORT.name)
def look_at_import(import_id: str) -> None:
    imports.begin(UUID(import_id))
