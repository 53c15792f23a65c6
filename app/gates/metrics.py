"""The registry of metrics that a rule may name: where the scores have each, and what to do about it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Literal

from thumbwheel.wire.gates import Comparison

Path = tuple[str, ...]
#: What the interval of a figure was resampled over: its groups.
Unit = Literal["held-out prompts", "sampled prompts", "tests", "judged prompts", "replayed answers", "judged answers"]


@dataclass(frozen=True)
class Metric:
    """A figure of the scores.

    meaning   a noun phrase
    readings  the path of the figure in the scores for each comparison that the metric has
    ranges    the smallest and the largest possible figure for each comparison
    remedy    the remedy where the figure breaks a bound
    remedies  other remedies for single comparisons
    groups    the path of the number of groups; None if the figure itself has it, as `groups`
    neutral   the figure of a candidate equal to what it is compared with: 0 for differences, 1 for ratios
    interval  whether the figure has an interval; otherwise its value alone decides
    learnt    whether a broken bound may also mean that the model learnt too little
    too_far   whether a broken bound means that the model is too far from the reference
    """

    meaning: str
    readings: Mapping[Comparison, Path]
    ranges: Mapping[Comparison, tuple[float, float]]
    remedy: str
    unit: Unit
    groups: Path | None = None
    remedies: Mapping[Comparison, str] = field(default_factory=dict)
    neutral: float = 0.0
    interval: bool = True
    learnt: bool = False
    too_far: bool = False


_SHARE, _DIFFERENCE, _POSITIVE, _ANY = (0.0, 1.0), (-1.0, 1.0), (0.0, inf), (-inf, inf)
_HELD_OUT: Path = ("groups",)
_LESS_DRIFT = "raise beta, lower the learning rate or train fewer epochs"
_LENGTHS = (
    "check whether desirable rows are longer or shorter than undesirable ones, raise beta or lower the learning rate"
)


def _held_out(name: str, meaning: str, remedy: str, *, scale: tuple[float, float] = _SHARE) -> Metric:
    return Metric(meaning, {"absolute": (name,)}, {"absolute": scale}, remedy, "held-out prompts", _HELD_OUT)


def _of_samples(name: str, meaning: str, remedy: str, *, difference: str | None) -> Metric:
    """Returns a share of the candidate's samples, compared by its difference if the scores have one."""
    readings: dict[Comparison, Path] = {"absolute": ("samples", "candidate", name)}
    ranges: dict[Comparison, tuple[float, float]] = {"absolute": _SHARE}
    others: tuple[Comparison, ...] = ("shipped", "ancestor")
    for other in others if difference else ():
        readings[other] = ("samples", f"against_{other}", f"{difference}")
        ranges[other] = _DIFFERENCE
    return Metric(meaning, readings, ranges, remedy, "sampled prompts", too_far=True)


def _against(
    name: str, meaning: str, remedy: str, *, scale: tuple[float, float], neutral: float = 0.0, too_far: bool = True
) -> Metric:
    """Returns a figure of the candidate's samples that exists only against another model."""
    return Metric(
        meaning,
        {"shipped": ("samples", "against_shipped", name), "ancestor": ("samples", "against_ancestor", name)},
        {"shipped": scale, "ancestor": scale},
        remedy,
        "sampled prompts",
        neutral=neutral,
        too_far=too_far,
    )


def _replayed(name: str, meaning: str, remedy: str, *, judged: bool, learnt: bool = False) -> Metric:
    """Returns a share of the replayed answers, of the candidate and as the difference to the shipped model."""
    place = ("judge", "replay", name) if judged else ("replay", name)
    return Metric(
        meaning,
        {"absolute": (*place, "candidate"), "shipped": (*place, "difference")},
        {"absolute": _SHARE, "shipped": _DIFFERENCE},
        remedy,
        "judged answers" if judged else "replayed answers",
        learnt=learnt,
    )


METRICS: Mapping[str, Metric] = {
    "auroc": Metric(
        "AUROC on held-out feedback",
        {
            "absolute": ("auroc",),
            "shipped": ("auroc_difference",),
            "dumb_readers": ("dumb_readers", "auroc_over_best"),
        },
        {"absolute": _SHARE, "shipped": _DIFFERENCE, "dumb_readers": _DIFFERENCE},
        "collect more feedback",
        "held-out prompts",
        _HELD_OUT,
        {
            "shipped": "keep what is shipped, or collect more feedback on its completions",
            "dumb_readers": "see the overlap of the sides in the snapshot's card, and collect feedback on more prompts",
        },
        learnt=True,
    ),
    "auroc_per_token": _held_out(
        "auroc_per_token",
        "AUROC of the reward per token on held-out feedback",
        "the reward follows the length of completions: check whether desirable rows are longer than undesirable ones",
    ),
    "auroc_vs_ancestor": _held_out(
        "auroc_vs_ancestor", "AUROC measured from the base model", "collect more feedback, or keep what is shipped"
    ),
    "accuracy": _held_out(
        "accuracy", "the share of held-out rows on the right side of z0", "collect more feedback of both classes"
    ),
    "margin": _held_out(
        "margin", "the margin between the rewards of both classes", "check the labels of both classes", scale=_ANY
    ),
    "ece": _held_out("ece", "the calibration error", "raise beta, or train fewer epochs"),
    "kl.nats_per_token": Metric(
        "the drift from the shipped model in nats per token",
        {"absolute": ("kl", "nats_per_token")},
        {"absolute": _POSITIVE},
        _LESS_DRIFT,
        "sampled prompts",
        ("kl", "samples"),
        too_far=True,
    ),
    "kl.nats_per_completion": Metric(
        "the drift from the shipped model in nats per completion",
        {"absolute": ("kl", "nats_per_completion")},
        {"absolute": _POSITIVE},
        _LESS_DRIFT,
        "sampled prompts",
        ("kl", "samples"),
        too_far=True,
    ),
    "length.ratio": Metric(
        "the ratio of median lengths of sampled completions",
        {"shipped": ("length", "ratio")},
        {"shipped": _POSITIVE},
        _LENGTHS,
        "sampled prompts",
        ("kl", "samples"),
        neutral=1.0,
        interval=False,
        too_far=True,
    ),
    "samples.length_ratio": _against(
        "length_ratio", "the ratio of lengths of sampled completions", _LENGTHS, scale=_POSITIVE, neutral=1.0
    ),
    "samples.kl_nats_per_token": _against(
        "kl_nats_per_token", "the drift of sampled completions in nats per token", _LESS_DRIFT, scale=_POSITIVE
    ),
    "samples.kl_nats_per_completion": _against(
        "kl_nats_per_completion",
        "the drift of sampled completions in nats per completion",
        _LESS_DRIFT,
        scale=_POSITIVE,
    ),
    "samples.unchanged_share": _against(
        "unchanged_share",
        "the share of prompts with an unchanged reply",
        "collect more feedback",
        scale=_SHARE,
        too_far=False,
    ),
    "samples.length_mean": Metric(
        "the mean length of sampled completions in tokens",
        {"absolute": ("samples", "candidate", "length_mean")},
        {"absolute": _POSITIVE},
        _LENGTHS,
        "sampled prompts",
        too_far=True,
    ),
    "samples.refusal_share": _of_samples(
        "refusal_share",
        "the share of sampled completions that refuse",
        "look at the refusals in the samples, check whether users reward refusals, raise beta or lower the learning "
        "rate",
        difference="refusal_difference",
    ),
    "samples.empty_share": _of_samples(
        "empty_share",
        "the share of empty sampled completions",
        "check whether empty completions are labelled desirable, raise beta or lower the learning rate",
        difference="empty_difference",
    ),
    "samples.repetition_share": _of_samples(
        "repetition_share",
        "the share of sampled completions that repeat themselves",
        "the model collapses: raise beta, lower the learning rate or train fewer epochs",
        difference="repetition_difference",
    ),
    "samples.distinct_2": _of_samples(
        "distinct_2",
        "the share of distinct word pairs in sampled completions",
        "the model collapses: raise beta, lower the learning rate or train fewer epochs",
        difference="distinct_2_difference",
    ),
    "samples.unfinished_share": _of_samples(
        "unfinished_share",
        "the share of sampled completions that do not end",
        "raise evaluation.kl_max_new_tokens if the replies are sound, otherwise raise beta or lower the learning rate",
        difference=None,
    ),
    "judge.win_share": Metric(
        "the share of prompts on which the judge prefers the candidate to the shipped model",
        {"shipped": ("judge", "win_share")},
        {"shipped": _SHARE},
        "look at the samples that the judge prefers from the shipped model, and collect feedback on such prompts",
        "judged prompts",
        ("judge", "pairs"),
        neutral=0.5,
    ),
    "judge.position_consistency": Metric(
        "the share of pairs on which the judge answers alike in both orders",
        {"absolute": ("judge", "position_consistency")},
        {"absolute": _SHARE},
        "use a stronger judge: this one prefers a position",
        "judged prompts",
        ("judge", "pairs"),
    ),
    "replay.repeated": _replayed(
        "repeated",
        "the share of disliked answers that are given again",
        "collect more feedback on such prompts",
        judged=False,
        learnt=True,
    ),
    "replay.kept": _replayed(
        "kept",
        "the share of liked answers that are given again",
        "look at the replies to prompts of liked answers, raise beta or lower the learning rate",
        judged=False,
    ),
    "replay.mended": _replayed(
        "mended",
        "the share of disliked answers to which the judge prefers the new reply",
        "look at the replies to prompts of disliked answers, and collect more feedback on such prompts",
        judged=True,
        learnt=True,
    ),
    "replay.broken": _replayed(
        "broken",
        "the share of liked answers that the judge prefers to the new reply",
        "look at the replies to prompts of liked answers, raise beta or lower the learning rate",
        judged=True,
    ),
}

#: The pass share of a suite, or a metric that its assertions name.
SUITE = Metric(
    "the pass share",
    {},
    {"absolute": _SHARE, "shipped": _DIFFERENCE, "ancestor": _DIFFERENCE},
    "look at the tests that fail and did not fail before, and collect feedback on such prompts",
    "tests",
    ("tests",),
)
