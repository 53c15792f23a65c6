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

from app.statistics.bootstrap import Bootstrap
from app.statistics.measures import Statistic, difference, mean, ratio_of_sums
from app.statistics.shares import wilson
from benchmarks.compare.arms import KTO, UNTOUCHED
from benchmarks.desk_study.over_seeds import interval

RESAMPLES = 1000

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
    compared = [seed for seed in sound if "outcomes" in kto.get(seed, {})]
    figures = {name: _over_seeds([_value(name, sound, untouched, seed) for seed in sound]) for name in FIGURES}
    differences = {
        name: _over_seeds(
            [_value(name, sound, untouched, seed) - _value(name, kto, untouched, seed) for seed in compared]
        )
        for name in FIGURES
    }
    if len(sound) == 1:
        [seed] = sound
        figures |= _figures_over_tickets(sound[seed]["outcomes"], untouched[seed]["outcomes"])
    if len(compared) == 1:
        [seed] = compared
        differences |= _differences_over_tickets(*(arm[seed]["outcomes"] for arm in (sound, kto, untouched)))
    return {
        **{name: figure["value"] for name, figure in figures.items()},
        **{side: figures["good_share"][side] for side in ("low", "high")},
        "seeds": len(sound),
        **{name: _mean([trial[name] for trial in sound.values()]) for name in ("votes", "tokens", "steps")},
        "difference_to_kto": differences["good_share"],
        "intervals": {name: {side: figure[side] for side in ("low", "high")} for name, figure in figures.items()},
        "differences_to_kto": differences,
        "failures": {str(seed): trial["failure"] for seed, trial in trials.items() if "failure" in trial},
    }


def _value(name: str, trials: BySeed, untouched: BySeed, seed: int) -> float:
    """Returns a figure of one trial. The length ratio is of all words to those of the untouched model."""
    outcomes = trials[seed]["outcomes"]
    if name == "length_ratio":
        return float(sum(outcomes["words"]) / sum(untouched[seed]["outcomes"]["words"]))
    return fmean(outcomes[MEANS[name]])


def _over_seeds(values: Sequence[float]) -> Figure:
    figure = interval(values)
    return {"value": figure["mean"], "low": figure["low"], "high": figure["high"]}


def _figures_over_tickets(own: Outcomes, untouched: Outcomes) -> dict[str, Figure]:
    """Returns the figures of one seed, with Wilson's interval for shares and the bootstrap's for the others."""
    statistics = _statistics(own, untouched)
    shares = {name: MEANS[name] for name in FIGURES if name.endswith("_share")}
    others = {name: statistic for name, statistic in statistics.items() if name not in shares}
    figures = _over_tickets(own, others)
    for name, outcome in shares.items():
        low, high = wilson(round(sum(own[outcome])), len(own[outcome])) or (None, None)
        figures[name] = {"value": fmean(own[outcome]), "low": low, "high": high}
    return figures


def _differences_over_tickets(own: Outcomes, kto: Outcomes, untouched: Outcomes) -> dict[str, Figure]:
    """Returns the figures of an arm minus those of KTO at one seed. A resample has the same tickets for both."""
    mine, other = _statistics(own, untouched), _statistics(kto, untouched)
    return _over_tickets(own, {name: difference(mine[name], other[name]) for name in FIGURES})


def _statistics(own: Outcomes, untouched: Outcomes) -> dict[str, Statistic]:
    words, before = (np.array(outcomes["words"], dtype=float) for outcomes in (own, untouched))
    means = {name: mean(np.array(own[outcome], dtype=float)) for name, outcome in MEANS.items()}
    return {**means, "length_ratio": ratio_of_sums(words, before)}


def _over_tickets(own: Outcomes, statistics: Mapping[str, Statistic]) -> dict[str, Figure]:
    tickets = len(own["good"])
    bootstrap = Bootstrap(np.arange(tickets), np.ones(tickets), RESAMPLES, 0.95, seed=0)
    figures = bootstrap.intervals(statistics, "there are no tickets")
    return {name: {side: figure[side] for side in ("value", "low", "high")} for name, figure in figures.items()}


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
