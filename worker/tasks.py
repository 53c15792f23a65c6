"""The tasks of `app.messages`: one call each."""

from uuid import UUID

from app import messages
from app.loop import service as loop
from app.privacy.erasures import service as erasures
from app.runs.comparisons import service as comparisons
from worker.execute import look
from worker.main import app, stopping
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


@app.task(name=messages.DELIVER_WEBHOOKS.name)
def deliver_webhooks(endpoint_id: str) -> None:
    senders.look_at(UUID(endpoint_id))
