"""Computes the figures of each condition and round over the seeds. Pure.

Intervals are Student's t over seeds; of one seed, a share has Wilson's over its tickets. A round is compared with the
one before, and a condition with the best one after as many votes, within each seed first.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from app.statistics.shares import wilson
from benchmarks.desk_study.over_seeds import interval
from benchmarks.rounds.conditions import BEST, Condition

FIGURES = ("good_share", "invented_refund_share", "unclear_share", "kl_base", "kl_previous", "length_ratio")

#: Figures of the trials by condition, seed and round; round 0 is the base model.
Results = Mapping[tuple[str, int, int], Mapping[str, Any]]
Figure = dict[str, float | None]


def document(conditions: Sequence[Condition], seeds: Mapping[str, Sequence[int]], results: Results) -> dict[str, Any]:
    """Returns the figures of the conditions of which any round was run. `seeds`: those of each condition."""
    return {
        condition.name: {
            "about": condition.about,
            "seeds": [seed for seed in seeds[condition.name] if (condition.name, seed, 0) in results],
            "rounds": [
                _round(condition.name, number, number * condition.first.times_votes, seeds, results)
                for number in range(1 + max(r for name, _, r in results if name == condition.name))
            ],
        }
        for condition in conditions
        if any(name == condition.name and number for name, _, number in results)
    }


def _round(
    name: str, number: int, of_best: int, seeds: Mapping[str, Sequence[int]], results: Results
) -> dict[str, Any]:
    """Returns the figures of a round. `of_best`: the round of the best condition with as many votes."""
    sound = [seed for seed in seeds[name] if "good_share" in results.get((name, seed, number), {})]

    def of(figure: str, condition: str = name, at: int = number) -> Callable[[int], float]:
        def value(seed: int) -> float:
            trial = results[condition, seed, at]
            if figure == "length_ratio":
                return float(trial["words"] / results[condition, seed, 0]["words"])
            return float(trial[figure])

        return value

    def over(value: Callable[[int], float], among: Sequence[int]) -> Figure:
        return interval([value(seed) for seed in among])

    present = [figure for figure in FIGURES if number or not figure.startswith("kl_")]
    document: dict[str, Any] = {"seeds": sound, **{figure: over(of(figure), sound) for figure in present}}
    if len(sound) == 1:
        trial = results[name, sound[0], number]
        low, high = wilson(round(trial["good_share"] * trial["tickets"]), trial["tickets"]) or (None, None)
        document["good_share"] |= {"low": low, "high": high}
    if number:
        before = of("good_share", at=number - 1)
        document["better_than_before"] = over(lambda seed: of("good_share")(seed) - before(seed), sound)
        both = [seed for seed in sound if "good_share" in results.get((BEST.name, seed, of_best), {})]
        best = of("good_share", BEST.name, of_best)
        document["better_than_best"] = over(lambda seed: of("good_share")(seed) - best(seed), both)
    document["failures"] = {
        str(seed): results[name, seed, number]["failure"]
        for seed in seeds[name]
        if "failure" in results.get((name, seed, number), {})
    }
    return document


def by_round(figures: Mapping[str, Any], name: str) -> list[float | None]:
    """Returns the means of a figure of one condition by round, the base model first."""
    return [number[name]["mean"] if name in number else 0.0 for number in figures["rounds"]]
