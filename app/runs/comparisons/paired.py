"""Paired differences between arms over prompts, from the samples and held-out scores of their checkpoints. Pure numpy.

A prompt's value is the mean over its held-out samples that were drawn (not the greedy ones). Legend: N prompts or rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from thumbwheel import wire

from app.checkpoints.few_shots import FewShotReply
from app.checkpoints.held_out_scores import HeldOutScores
from app.statistics import measures
from app.statistics.bootstrap import Bootstrap, paired_difference
from app.statistics.measures import Array

RESAMPLES, CONFIDENCE, SEED = 1000, 0.95, 0
#: Resamples times held-out rows, which take about a second; many rows get fewer resamples, but not fewer than these.
CELLS, FEWEST_RESAMPLES = 4_000_000, 200

#: The columns of samples.parquet that are read.
COLUMNS = ("source", "group", "model", "decoding", "tokens", "lp_candidate", "lp_shipped")


class PromptValues(NamedTuple):
    """The mean completion of one model for a prompt: its tokens, and its log-prob under the model minus that under the
    reference, in nats, summed over the completion.
    """

    tokens: float
    nats: float


Values = Mapping[str, PromptValues]  # by prompt group


def values_of(rows: Sequence[Mapping[str, Any]], model: str) -> Values:
    """Returns the values of the held-out prompts that `model` (candidate or shipped) has samples of."""
    samples: dict[str, list[PromptValues]] = {}
    for row in rows:
        if row["source"] == "holdout" and row["model"] == model and row["decoding"] == "sampled":
            nats = 0.0 if model == "shipped" else _difference(row["lp_candidate"], row["lp_shipped"])
            samples.setdefault(row["group"], []).append(PromptValues(float(row["tokens"]), nats))
    return {group: PromptValues(*np.mean(drawn, axis=0).tolist()) for group, drawn in samples.items()}


def values_of_few_shots(replies: Sequence[FewShotReply], rows: Sequence[Mapping[str, Any]]) -> Values:
    """Returns the values of the held-out prompts that the reference with examples has replies to.

    rows  the samples of the same checkpoint, whose held-out prompts the replies are numbered by; if an erasure has
          removed some, the numbers mean nothing any more, and there are no values
    """
    groups = list(dict.fromkeys(row["group"] for row in rows if row["source"] == "holdout"))
    return {
        groups[reply.prompt]: PromptValues(float(reply.tokens), _difference(reply.lp_few_shots, reply.lp_shipped))
        for reply in replies
        if reply.prompts == len(groups) and reply.prompt < len(groups)
    }


def differences_over_samples(first: Values, second: Values) -> tuple[int, wire.ArmFigure, wire.ArmFigure]:
    """Returns the number of prompts that both arms have, and the first minus the second in tokens and in nats."""
    shared = sorted(first.keys() & second.keys())
    if not shared:
        none = wire.ArmFigure(reason="they have no samples of the same prompts")
        return 0, none, none
    over_prompts = Bootstrap(np.arange(len(shared)), np.ones(len(shared)), RESAMPLES, CONFIDENCE, SEED)

    def figure(name: str) -> wire.ArmFigure:
        sides: list[Array] = [
            np.array([getattr(values[group], name) for group in shared]) for values in (first, second)
        ]
        difference = paired_difference(over_prompts, *sides)
        return wire.ArmFigure(**{part: difference.get(part) for part in wire.ArmFigure.model_fields})

    return len(shared), figure("tokens"), figure("nats")


def auroc_difference(first: HeldOutScores, second: HeldOutScores | None) -> dict[str, Any]:
    """Returns the interval of the first AUROC minus the second, on the held-out rows that both have.

    `second` is None for the reference itself, whose log-ratios are 0 and whose AUROC is 0.5. A resample has the same
    prompts for both.
    """
    if second is not None:
        known = set(second.places)
        shared = [place for place in first.places if place in known]
        first, second = first.of(shared), second.of(shared)
    resamples = max(FEWEST_RESAMPLES, min(RESAMPLES, CELLS // max(1, len(first.places))))
    over_prompts = Bootstrap(first.groups_N, first.weight_N, resamples, CONFIDENCE, SEED)
    of_second = measures.constant(0.5) if second is None else measures.auroc(second.log_ratio_N, second.desirable_N)
    statistic = measures.difference(measures.auroc(first.log_ratio_N, first.desirable_N), of_second)
    return over_prompts.interval(statistic, "the held-out rows that both have are of one class only")


def _difference(first: float | None, second: float | None) -> float:
    return np.nan if first is None or second is None else first - second
