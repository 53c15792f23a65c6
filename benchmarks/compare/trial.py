"""One arm on one world: the training, and the judgement of one reply to each held-out ticket."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from thumbwheel.wire.recipe import recipe_of
from thumbwheel.wire.recipe_resolution import resolve

from benchmarks.compare.arms import PRESET, Arm, Budget, Setting, length_of_training, votes_of
from benchmarks.compare.feedback import Size, World, held_out_tickets
from benchmarks.desk_study.outcomes import outcomes
from benchmarks.desk_study.workdir import Example, stage, training_figures
from worker.demo import sampling
from worker.training.train import train


def figures_of(
    workdir: Path, arm: Arm, budget: Budget, setting: Setting, world: World, base: Path, seed: int, size: Size
) -> dict[str, Any]:
    """Returns the figures of an arm, training it in `workdir` if it learns; an interrupted training is resumed.

    base   the model that the arm starts from
    """
    before = sampling.load(base)
    tickets = held_out_tickets(seed, size)
    figures: dict[str, Any] = {"votes": votes_of(arm, size.feedback, setting.shots), "tokens": 0, "steps": 0}
    if arm.objective is None:
        prefix = shots(world.rows, setting.shots, seed)
        return {**figures, "outcomes": outcomes(before, {"log_ratio": before}, tickets, seed, prefix)}
    if not (workdir / "job.json").exists():
        stage_arm(workdir, arm, budget, setting, world, base, seed, size)
    train(workdir)
    figures |= training_figures(workdir)
    return {**figures, "outcomes": outcomes(sampling.load(workdir / "output"), {"log_ratio": before}, tickets, seed)}


def stage_arm(
    workdir: Path, arm: Arm, budget: Budget, setting: Setting, world: World, base: Path, seed: int, size: Size
) -> None:
    changes = {
        "seed": seed,
        "drift": {"checks": 0},
        **setting.changes,
        **length_of_training(arm, budget, size.feedback),
    }
    recipe = resolve(recipe_of(PRESET, changes), size.feedback.desirable, size.feedback.undesirable)
    stage(workdir, f"{arm.name}-{budget}-{seed}", base, world.rows, recipe, world.pairs)


def shots(rows: Sequence[Example], count: int, seed: int) -> str:
    """Returns `count` tickets with replies that users liked, as a text to put before each prompt."""
    liked = [row for row in rows if row.desirable]
    return "".join(f"{row.prompt}{row.completion}\n" for row in Random(f"shots {seed}").sample(liked, count))
