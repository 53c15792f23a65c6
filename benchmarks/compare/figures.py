"""Computes the figures of each arm with intervals, and their differences to KTO. Pure.

Within one seed the unit is the held-out ticket: every arm answers the same tickets, so two arms are compared ticket by
ticket (`app.statistics.bootstrap`), and a share has Wilson's interval. With several seeds the interval is Student's t
over the seeds' figures (`benchmarks.desk_study.over_seeds`), which contains the variation between seeds and that of the
tickets, since each seed has its own; the difference to KTO is taken within each seed first. Intervals cover 95 %.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from app.statistics.bootstrap import Bootstrap, paired_difference
from app.statistics.measures import difference, mean, ratio_of_sums
from app.statistics.shares import wilson
from benchmarks.compare.arms import KTO, UNTOUCHED
from benchmarks.desk_study.over_seeds import interval

RESAMPLES = 2000

#: Figures that are means over tickets → their outcome.
MEANS = {
    "good_share": "good",
    "invented_refund_share": "invented_refund",
    "unclear_share": "unclear",
    "kl_nats": "log_ratio",
}
FIGURES = (*MEANS, "length_ratio")

Outcomes = Mapping[str, Sequence[float]]
Figure = dict[str, float | None]
#: Figures of the trials of one arm by seed.
BySeed = Mapping[int, Mapping[str, Any]]


def arm_document(trials: BySeed, kto: BySeed, untouched: BySeed) -> dict[str, Any]:
    """Returns the figures of an arm for programs. Seeds whose training failed are listed and left out of the figures.

    kto, untouched   the trials of these arms at the same seeds; `kto` may be empty
    """
    sound = {seed: trial for seed, trial in trials.items() if "failure" not in trial}
    figures = {name: _figure(name, sound, untouched) for name in FIGURES}
    return {
        **{name: figure["value"] for name, figure in figures.items()},
        **{side: figures["good_share"][side] for side in ("low", "high")},
        "seeds": len(sound),
        **{name: _mean([trial[name] for trial in sound.values()]) for name in ("votes", "tokens", "steps")},
        "difference_to_kto": _difference("good_share", sound, kto, untouched),
        "intervals": {name: {side: figure[side] for side in ("low", "high")} for name, figure in figures.items()},
        "differences_to_kto": {name: _difference(name, sound, kto, untouched) for name in FIGURES},
        "failures": {str(seed): trial["failure"] for seed, trial in trials.items() if "failure" in trial},
    }


def value_of(name: str, outcomes: Outcomes, untouched: Outcomes) -> float:
    """Returns a figure of one trial. The length ratio is of all words to those of the untouched model."""
    if name == "length_ratio":
        return sum(outcomes["words"]) / sum(untouched["words"])
    return fmean(outcomes[MEANS[name]])


def _figure(name: str, trials: BySeed, untouched: BySeed) -> Figure:
    values = [value_of(name, trial["outcomes"], untouched[seed]["outcomes"]) for seed, trial in trials.items()]
    if len(values) != 1:
        return _over_seeds(values)
    [(seed, trial)] = trials.items()
    own, other = trial["outcomes"], untouched[seed]["outcomes"]
    if name.endswith("_share"):
        low, high = wilson(sum(own[MEANS[name]]), len(own[MEANS[name]])) or (None, None)
        return {"value": values[0], "low": low, "high": high}
    statistic = mean(np.array(own["log_ratio"])) if name == "kl_nats" else _length_ratio(own, other)
    return _sides(_over_tickets(len(own["good"])).interval(statistic, "there are no tickets"))


def _difference(name: str, trials: BySeed, kto: BySeed, untouched: BySeed) -> Figure:
    """Returns the figure of an arm minus that of KTO at the same seeds."""
    seeds = [seed for seed in trials if "outcomes" in kto.get(seed, {})]
    if len(seeds) != 1:
        return _over_seeds(
            [
                value_of(name, trials[seed]["outcomes"], untouched[seed]["outcomes"])
                - value_of(name, kto[seed]["outcomes"], untouched[seed]["outcomes"])
                for seed in seeds
            ]
        )
    own, other, base = (arm[seeds[0]]["outcomes"] for arm in (trials, kto, untouched))
    tickets = _over_tickets(len(own["good"]))
    if name == "length_ratio":
        statistic = difference(_length_ratio(own, base), _length_ratio(other, base))
        return _sides(tickets.interval(statistic, "there are no tickets"))
    first, second = (np.array(outcomes[MEANS[name]], dtype=float) for outcomes in (own, other))
    return _sides(paired_difference(tickets, first, second))


def _length_ratio(own: Outcomes, untouched: Outcomes) -> Any:
    return ratio_of_sums(np.array(own["words"], dtype=float), np.array(untouched["words"], dtype=float))


def _over_tickets(count: int) -> Bootstrap:
    return Bootstrap(np.arange(count), np.ones(count), RESAMPLES, 0.95, seed=0)


def _over_seeds(values: Sequence[float]) -> Figure:
    figure = interval(values)
    return {"value": figure["mean"], "low": figure["low"], "high": figure["high"]}


def _sides(figure: Mapping[str, Any]) -> Figure:
    return {name: figure[name] for name in ("value", "low", "high")}


def _mean(values: Sequence[float]) -> float | None:
    return round(fmean(values)) if values else None


def document(results: Mapping[tuple[str, str, int], Mapping[str, Any]], seeds: Sequence[int]) -> dict[str, Any]:
    """Returns the figures of all arms, from the figures of the trials by arm, budget and seed.

    An arm's own figures are those at equal votes; `at_equal_steps` has those at KTO's number of steps.
    """

    def trials(arm: str, budget: str) -> dict[int, Mapping[str, Any]]:
        return {seed: results[arm, budget, seed] for seed in seeds if (arm, budget, seed) in results}

    kto, untouched = trials(KTO.name, "votes"), trials(UNTOUCHED.name, "votes")
    arms = dict.fromkeys(arm for arm, _, _ in results)
    at_votes = {arm: arm_document(trials(arm, "votes"), kto, untouched) for arm in arms}
    return {
        arm: {
            **figures,
            "at_equal_steps": arm_document(repeated, kto, untouched) if (repeated := trials(arm, "steps")) else figures,
        }
        for arm, figures in at_votes.items()
    }
