"""What messages ask for: one call each."""

from uuid import UUID

from app.loop import service as loop
from worker.execute import look
from worker.main import app, stopping


@app.task(name="worker.tasks.look_at_run")
def look_at_run(run_id: str) -> None:
    look(UUID(run_id), stopping)


@app.task(name="worker.tasks.tick")
def tick() -> None:
    loop.tick()
