"""Loads the state that a run continues from, and saves it: when that is due, and when the run stops."""

import time
from typing import Any

import torch

from worker.training import saved_state
from worker.training.saved_state import Position
from worker.training.training_run import TrainingRun


def resumed(run: TrainingRun) -> tuple[Position, list[str]]:
    """Loads the newest sound training checkpoint into the policy and the optimizer.

    Returns where the run is, step 0 where there is no checkpoint; and the names of those that did not verify. Raises
    `TrainingRefusal` where the checkpoint belongs to another job.
    """
    start = run.start
    position, passed_over = saved_state.resume(
        run.job.workdir / "state", run.job.identity, start.weights, start.optimizer, start.micro_batch_size
    )
    return position or Position(0, 0.0, torch.get_num_threads()), passed_over


class StateSaver:
    """Saves the state of one attempt at a run. The weights' bits do not depend on when."""

    def __init__(self, run: TrainingRun, resumed_at: Position) -> None:
        self._run, self.resumed_at = run, resumed_at
        self._began = time.monotonic() - resumed_at.seconds
        self._due = saved_state.Due(run.recipe)

    @property
    def threads(self) -> int:
        """Threads of CPU arithmetic that the run began with."""
        return self.resumed_at.threads

    @property
    def seconds(self) -> float:
        """Seconds of training, over all attempts."""
        return time.monotonic() - self._began

    def save_if_due(self, step: int, running: tuple[float, float]) -> None:
        """Saves the state after `step` where that is due. The last step leaves output/ instead."""
        if step < self._run.total_steps and self._due.after(step):
            self.save(step, running)

    def save(self, step: int, running: tuple[float, float], unfinished: dict[str, Any] | None = None) -> None:
        """Saves the state after `step`.

        `running`: sum and count of bco's rewards so far. `unfinished`: the step's figures, where its drift is still to
        be measured.
        """
        run, start = self._run, self._run.start
        if not run.ranks.writes:
            return
        position = Position(step, self.seconds, self.threads, running, unfinished, start.micro_batch_size)
        saved_state.save(run.job.workdir / "state", position, run.job.identity, start.weights, start.optimizer)
        self._due.saved()
