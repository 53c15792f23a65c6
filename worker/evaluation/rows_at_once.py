"""Decides how many rows of the holdout are read and sampled at once, and halves them when memory runs out.

The number of halvings is kept in WORKDIR/scoring-batch.json for the next attempt. Neither log-probs nor samples depend
on it, except through rounding. The blocks of z0 stay those of the recipe. A first attempt samples more rows at once if
memory seems to hold them (see `generation.capacity`).
"""

import json
from dataclasses import dataclass

from worker.training.files.sealed import read_cache, write_sealed
from worker.training.job import Job
from worker.training.machine.process import OutOfMemory, TrainingRefusal, first_line

FILE = "scoring-batch.json"
#: Number of rows in one forward if neither the recipe nor a measurement determines it.
UNMEASURED = 8


def micro_batch_size_of(job: Job) -> int:
    """Returns the recipe's micro-batch size, or, if that is auto, the one that the trainer measured."""
    size = job.recipe.micro_batch_size
    if size == "auto":
        training = read_cache(job.workdir / "training.json")
        size = UNMEASURED if training is None else json.loads(training)["recipe"]["micro_batch_size"]
    return int(size)


@dataclass(frozen=True)
class RowsAtOnce:
    read: int
    sampled: int
    halvings: int  # attempts that ran out of memory

    @classmethod
    def of(cls, job: Job) -> "RowsAtOnce":
        stored = read_cache(job.workdir / FILE)
        halvings = 0 if stored is None else int(json.loads(stored)["halvings"])
        return cls(max(1, micro_batch_size_of(job) >> halvings), max(1, job.recipe.batch_size >> halvings), halvings)

    def too_many(self, job: Job, error: Exception) -> OutOfMemory | TrainingRefusal:
        """Returns the exception to raise after `error`, a lack of memory; the next attempt uses half as many rows."""
        if self.read == self.sampled == 1:
            return TrainingRefusal(
                "memory",
                f"a single row of the holdout does not fit into memory ({first_line(error)}): lower "
                f"evaluation.kl_max_new_tokens (it is {job.recipe.evaluation.kl_max_new_tokens}) or max_length (it is "
                f"{job.recipe.max_length}), or use a machine with more memory",
            )
        write_sealed(job.workdir / FILE, json.dumps({"halvings": self.halvings + 1}).encode())
        return OutOfMemory(
            f"{self.read} rows of the holdout read or {self.sampled} or more sampled at once do not fit into memory "
            f"({first_line(error)}): score again, which uses half as many"
        )
