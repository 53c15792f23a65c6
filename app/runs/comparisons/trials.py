"""The trials of a job: which arm is trained with which seed, rung by rung. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from app.runs.comparisons.search import Scored, promoted, survivors


class Halving(NamedTuple):
    """The rungs of a successive halving: the values of the recipe field `resource`, rising."""

    rungs: tuple[int, ...]
    resource: str
    keep: int


def trials_of(
    recipes: Sequence[Mapping[str, Any] | None], arms: Sequence[int], seeds: int, rung: int, halving: Halving | None
) -> list[dict[str, Any]]:
    """Returns the trials of `arms` in a rung: arm, seed, rung and recipe, all arms with the first seed first.

    Without a first seed for each arm, a job that is cancelled early would have compared nothing.
    """
    trials = []
    for number in range(seeds):
        for arm in arms:
            recipe = recipes[arm]
            assert recipe is not None
            changes: dict[str, Any] = {"seed": (recipe["seed"] + number) % 2**31}
            if halving is not None:
                changes[halving.resource] = halving.rungs[rung]
            trials.append({"arm": arm, "seed": changes["seed"], "rung": rung, "recipe": {**recipe, **changes}})
    return trials


def first_arms(recipes: Sequence[Mapping[str, Any] | None]) -> list[int]:
    """Returns the arms that are trained, with one that derives pairs first: its run builds the snapshot for all."""
    trained = [number for number, recipe in enumerate(recipes) if recipe is not None]
    return sorted(trained, key=lambda number: (recipes[number] or {}).get("pairs") != "derived")


def next_rung(scored: Sequence[Scored], points: int, rung: int, halving: Halving | None, kl_budget: float) -> list[int]:
    """Returns the arms that go on after `rung`; none if it was the last, or no arm has a figure."""
    if halving is None or rung + 1 >= len(halving.rungs):
        return []
    return promoted(scored, survivors(points, rung + 1, halving.keep), kl_budget)
