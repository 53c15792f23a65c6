"""What messages ask for: one call each."""

from uuid import UUID

from app.loop import service as loop
from app.privacy.erasures import service as erasures
from worker.execute import look
from worker.main import app, stopping
from worker.staging.sweep import sweep


@app.task(name="worker.tasks.look_at_run")
def look_at_run(run_id: str) -> None:
    look(UUID(run_id), stopping)
    sweep()


@app.task(name="worker.tasks.tick")
def tick() -> None:
    loop.tick()
    sweep()


@app.task(name=erasures.TASK)
def erase(erasure_id: str) -> None:
    erasures.advance(UUID(erasure_id))
