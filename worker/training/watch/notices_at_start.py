"""Warnings that a run gives before it takes a step: how it differs from what the recipe or an earlier attempt had."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from worker.training.data.dropped import warnings_of
from worker.training.models import lora
from worker.training.off_policy import FAR, OffPolicy
from worker.training.saved_state import Position
from worker.training.training_run import TrainingRun
from worker.training.watch import plan_diagnosis


class Notice(NamedTuple):
    """A line of warnings.jsonl."""

    step: int
    code: str
    message: str
    again: bool = False  # whether it is given again where an earlier attempt gave one of the same code


def notices_at_start(
    run: TrainingRun, writers: OffPolicy | None, position: Position, passed_over: Sequence[str]
) -> Iterator[Notice]:
    """Yields the notices of an attempt that starts or continues at `position`.

    `writers`: the distance of the reference from the models that wrote the rows, where it is known.
    `passed_over`: names of the training checkpoints that did not verify.
    """
    start, recipe = run.start, run.recipe
    if passed_over:
        message = _damaged(run.job.workdir / "state", passed_over, position.step)
        yield Notice(position.step, "state_damaged", message, again=True)
    if recipe.packing == "auto" and not start.reading.packed:
        yield Notice(
            0,
            "padded",
            f"rows are padded, not packed, because {start.reading.padded_because}: prompts are read twice, and padding "
            "takes the share padding_share of metrics.jsonl",
        )
    if recipe.compile and not start.compiled:
        yield Notice(
            0,
            "not_compiled",
            "the model's layers run as they are: compiled they failed or said something else, or activations are "
            "computed twice, or this CPU has no bfloat16",
        )
    if (unreached := lora.warning_of_reach(start.policy, recipe)) is not None:
        yield Notice(0, "lora_reach", unreached)
    for code, message in warnings_of(start.dropped):
        yield Notice(0, code, message)
    for finding in plan_diagnosis.of_rows(start.read, run.plan, recipe, start.context):
        yield Notice(0, finding.code, finding.message)
    if writers is not None and writers.mean_difference > FAR:
        yield Notice(0, "off_policy", _far(writers))
    if recipe.behaviour_correction and writers is None:
        yield Notice(
            0,
            "no_log_probs",
            "behaviour_correction changes nothing, as no training row has log-probs: register completions with "
            "token_ids and log_probs",
        )
    if recipe.edit_kept_weight < 1 and not start.read.edited.rows:
        yield Notice(
            0,
            "no_edits",
            f"edit_kept_weight {recipe.edit_kept_weight:g} changes nothing, as no undesirable training row has what an "
            "edit kept of it: send edits, let the label policy call their originals undesirable, or set it to 1",
        )
    if position.threads != torch.get_num_threads():
        yield Notice(
            position.step,
            "threads",
            f"the run began with {position.threads} threads and continues with {torch.get_num_threads()}: "
            f"set OMP_NUM_THREADS={position.threads} if the weights must equal an uninterrupted run's bit for bit",
        )


def _far(writers: OffPolicy) -> str:
    return (
        f"the reference gives the completions of {writers.with_log_probs} rows log-probs that differ by "
        f"{writers.mean_difference:.2f} nats per token from those that they were sampled with (over {FAR:g} is far): "
        "set snapshot.events to shipped, collect more feedback on the checkpoint that is live, or set "
        "behaviour_correction; if that checkpoint wrote most of them, compare the chat template and the temperature of "
        "the server with the model's own"
    )


def _damaged(folder: Path, names: Sequence[str], step: int) -> str:
    what = "training checkpoint" if len(names) == 1 else "training checkpoints"
    goes_on = f"continues from the one after step {step}" if step else "begins again, as there is no sound one"
    return (
        f"{what} {', '.join(names)} in {folder} did not verify and went aside: the run {goes_on}; look for faults of "
        "this disk"
    )
