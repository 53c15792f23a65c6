"""Computes ratios from the seconds of the lanes. Pure.

A ratio above 1 means that ours is faster. Tokens are those of prompts and completions; the mismatched pass and the
reference pass are work, not output, so their tokens do not count.

    step_ratio              median over the rounds of seconds of trl / seconds of ours_same: the same block in turn
    step_ratio_of_cpu_time  the same for CPU time; if it is far from step_ratio, the machine was busy
    step_ratio_best_trl     all timed steps of trl_best / all of ours: the same rows, each side in blocks of its own
    job_ratio_n_epochs      min(trl, trl_precomputed) / ours of: reference pass + n · epoch
    job_ratio_n_epochs_best_trl  the same against trl_best
    memory_ratio            peak above the weights, ours / trl: the largest block of trl's batches
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from benchmarks.train.configurations import Configuration

EPOCHS = (1, 3)


@dataclass(frozen=True)
class Timed:
    """The times, lengths and losses of one lane."""

    loading_seconds: float  # and other work independent of the number of rows; in no ratio
    reference_seconds: float  # its pass over all rows, 0 if it scores them online
    seconds: Sequence[float]  # of each timed step
    cpu_seconds: Sequence[float]  # the same, of all threads
    lengths: Sequence[Sequence[int]]  # tokens of the rows of each step
    losses: Sequence[float]  # of all steps, the warm-up's first
    peak_bytes: int  # on the GPU, 0 on CPU


@dataclass(frozen=True)
class Work:
    """The work of a lane in one epoch, as means over the timed epochs."""

    epoch_seconds: float
    reference_seconds: float
    tokens: int  # of an epoch
    padding_share: float  # if its blocks are padded to their longest row

    @classmethod
    def of(cls, timed: Timed, passes: float) -> "Work":
        tokens = sum(sum(block) for block in timed.lengths)
        room = sum(max(block) * len(block) for block in timed.lengths)
        return cls(sum(timed.seconds) / passes, timed.reference_seconds, round(tokens / passes), 1 - tokens / room)

    def job(self, epochs: int) -> float:
        return self.reference_seconds + epochs * self.epoch_seconds


def figures(
    configuration: Configuration, timed: Mapping[str, Timed], difference: float, peaks: Mapping[str, int]
) -> dict[str, Any]:
    """Returns the figures of one configuration, as in the last line of the output.

    peaks  bytes above the weights, by lane
    """
    blocks = configuration.effort.blocks
    work = {name: Work.of(lane, len(lane.seconds) / blocks) for name, lane in timed.items()}
    rounds = _by_round(timed["trl"].seconds, timed["ours_same"].seconds)
    of_cpu_time = _by_round(timed["trl"].cpu_seconds, timed["ours_same"].cpu_seconds)
    result: dict[str, Any] = {
        "step_ratio": median(rounds),
        "step_ratio_quartiles": quartiles(rounds),
        "step_ratio_of_cpu_time": None if timed["trl"].peak_bytes else median(of_cpu_time),
        "step_ratio_best_trl": None,
    }
    own, best = work.get("ours"), work.get("trl_best")
    if own and best:
        result["step_ratio_best_trl"] = best.epoch_seconds / own.epoch_seconds
    for epochs in EPOCHS:
        jobs = {name: lane.job(epochs) for name, lane in work.items()}
        as_run = min(jobs["trl"], jobs.get("trl_precomputed", jobs["trl"]))
        name = f"job_ratio_{epochs}_epoch{'s' * (epochs > 1)}"
        result[name] = as_run / jobs["ours"] if own else None
        result[f"{name}_best_trl"] = jobs["trl_best"] / jobs["ours"] if own and best else None
    result["memory_ratio"] = _ratio(peaks, "ours_same", "trl")
    result["memory_ratio_lean_trl"] = _ratio(peaks, "ours_same", "trl_lean")
    result["padding_share"] = work["trl"].padding_share
    result["max_loss_difference"] = difference
    result["lanes"] = {name: _lane(work[name], timed[name], peaks.get(name)) for name in timed}
    return result


def _by_round(theirs: Sequence[float], ours: Sequence[float]) -> list[float]:
    return [their / our for their, our in zip(theirs, ours, strict=True)]


def quartiles(values: Sequence[float]) -> list[float]:
    return quantiles(values, n=4, method="inclusive")[::2] if len(values) > 1 else [values[0], values[0]]


def _lane(work: Work, timed: Timed, peak: int | None) -> dict[str, Any]:
    return {
        "tokens_per_second": work.tokens / work.epoch_seconds,
        "seconds_per_step": median(timed.seconds),
        "seconds_per_step_quartiles": quartiles(timed.seconds),
        "steps": len(timed.seconds),
        "seconds_per_epoch": work.epoch_seconds,
        "cpu_seconds_per_epoch": work.epoch_seconds * sum(timed.cpu_seconds) / sum(timed.seconds),
        "loading_seconds": timed.loading_seconds,
        "reference_seconds": work.reference_seconds,
        "padding_share_if_padded": work.padding_share,
        "peak_bytes_above_weights": peak,
    }


def useful_flops(configuration: Configuration, prompt_tokens: int, completion_tokens: int) -> float:
    """Returns the FLOPs of these tokens: only linear layers, without padding and without recomputation.

    2 FLOPs per weight and token in each direction: forward, gradient of activations, and with full fine-tuning gradient
    of weights; then one forward of the mismatched completions, whose prompts were read before. Log-probs of the
    reference are cached. The head counts only at completions. With a share f of prompt tokens and N weights this is
    6N + 2N(1−f) per token, with LoRA 4N + 2N(1−f).
    """
    shape = configuration.shape
    passes = 6 if configuration.method == "full" else 4
    own = passes * (shape.body * (prompt_tokens + completion_tokens) + shape.head * completion_tokens)
    return float(own + 2 * (shape.body + shape.head) * completion_tokens)


def rounded(value: Any) -> Any:
    """Returns a document with its numbers rounded to four significant digits, whatever their size."""
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _ratio(values: Mapping[str, int], ours: str, theirs: str) -> float | None:
    return values[ours] / values[theirs] if ours in values and theirs in values else None
