"""Judges what a server answered to the probe of a checkpoint. Pure.

Legend: T tokens of all prompts, each but the first of its prompt. Differences are in nats a token.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from thumbwheel.wire.serving import ProbeVerdict, ServedPrecision

from app.checkpoints.probe_file import Probe

#: The largest difference of a token by the precision in which the server computes. That of float32 was measured (vLLM
#: against transformers: 1e-5); those of the half precisions leave room for their 11 and 8 bits, and are not measured.
TOLERANCES: dict[ServedPrecision, float] = {"float32": 1e-3, "float16": 0.05, "bfloat16": 0.3}


@dataclass(frozen=True)
class Nearness:
    """The distances of a server's log-probs to the checkpoint's and to the base model's, with the verdict."""

    verdict: ProbeVerdict
    tokens: int
    max_nats: float
    mean_nats: float
    base_max_nats: float
    base_mean_nats: float
    told_apart: bool


@dataclass(frozen=True)
class Agreement:
    """The number of continuations that are the checkpoint's and the base model's, with the verdict."""

    verdict: ProbeVerdict
    prompts: int
    agreeing: int
    base_agreeing: int
    told_apart: bool


def tolerance_of(probe: Probe, precision: ServedPrecision | None, chosen: float | None) -> float:
    """Returns the operator's tolerance, or that of the coarser one of both precisions."""
    if chosen is not None:
        return chosen
    return max(TOLERANCES[precision or probe.precision], TOLERANCES[probe.precision])


def judge_log_probs(probe: Probe, served: Sequence[Sequence[float]], tolerance: float) -> Nearness | None:
    """Returns the verdict on the log-probs of a server, a list per prompt; None if they are not those of the prompts.

    Within the tolerance of both models, the nearer one counts; the verdict is then *ok* even if that is the base model,
    as the probe cannot tell them apart.
    """
    ours_T = [value for each in probe.prompts for value in each.candidate.log_probs]
    base_T = [value for each in probe.prompts for value in each.base.log_probs]
    lengths = [len(each.candidate.log_probs) for each in probe.prompts]
    if [len(values) for values in served] != lengths or not ours_T:
        return None
    served_T = [value for values in served for value in values]
    max_nats, mean_nats = _distance(served_T, ours_T)
    base_max_nats, base_mean_nats = _distance(served_T, base_T)
    told_apart = _distance(ours_T, base_T)[0] > tolerance
    verdict: ProbeVerdict = "differs"
    # A NaN fails every comparison, so it is never ok.
    if max_nats <= tolerance and (mean_nats <= base_mean_nats or not told_apart):
        verdict = "ok"
    elif base_max_nats <= tolerance:
        verdict = "base_instead_of_adapter"
    return Nearness(verdict, len(served_T), max_nats, mean_nats, base_max_nats, base_mean_nats, told_apart)


def judge_greedy(probe: Probe, served: Sequence[str]) -> Agreement:
    """Returns the verdict on a server's most probable continuations, one per prompt.

    A near tie may be decided either way on another machine, so one prompt may differ if the others agree.
    """
    pairs = list(zip(probe.prompts, served, strict=True))
    agreeing = sum(text == each.candidate.greedy for each, text in pairs)
    base_agreeing = sum(text == each.base.greedy for each, text in pairs)
    told_apart = any(each.candidate.greedy != each.base.greedy for each, _ in pairs)
    verdict: ProbeVerdict = "differs"
    if agreeing >= len(pairs) - 1 and (agreeing > base_agreeing or not told_apart):
        verdict = "ok"
    elif told_apart and base_agreeing >= len(pairs) - 1:
        verdict = "base_instead_of_adapter"
    return Agreement(verdict, len(pairs), agreeing, base_agreeing, told_apart)


def _distance(one_T: Sequence[float], other_T: Sequence[float]) -> tuple[float, float]:
    """Returns the largest and the mean difference; NaN if one is."""
    gaps = [abs(first - second) for first, second in zip(one_T, other_T, strict=True)]
    if any(math.isnan(gap) for gap in gaps):
        return math.nan, math.nan
    return max(gaps), sum(gaps) / len(gaps)
