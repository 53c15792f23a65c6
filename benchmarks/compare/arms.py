"""The arms of the comparison, their budgets and their settings. Pure.

Each arm is trained at two budgets. At *equal votes* it makes two passes over all feedback that its objective can use:
every vote, the desirable replies alone, or the comparisons alone. At *equal steps* it repeats that feedback until it
has made as many optimizer steps as KTO, with the same number of rows in each. For objectives that use every vote both
budgets are the same training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

from thumbwheel.wire.recipe import PAIRED, PRESETS

PRESET = "cpu-demo"
BATCH_SIZE = int(PRESETS[PRESET]["batch_size"])
EPOCHS = int(PRESETS[PRESET]["epochs"])
LEARNING_RATE = float(PRESETS[PRESET]["learning_rate"])
BETA = float(PRESETS[PRESET]["beta"])

Budget = Literal["votes", "steps"]
LearnsFrom = Literal["nothing", "votes", "desirable", "pairs"]


@dataclass(frozen=True)
class Arm:
    name: str
    objective: Literal["kto", "dpo", "ipo", "simpo", "orpo", "sft", "bco", "apo_zero_unpaired"] | None = None
    beta: float | None = None  # None if the objective has none
    shots: int = 0  # good replies in the prompt
    smaller: bool = False  # the smaller base model

    @property
    def learns_from(self) -> LearnsFrom:
        if self.objective is None:
            return "nothing"
        if self.objective in PAIRED:
            return "pairs"
        return "desirable" if self.objective == "sft" else "votes"

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """The budgets that need a training each; an arm that uses all votes, or none, has the same for both."""
        return ("votes", "steps") if self.learns_from in ("desirable", "pairs") else ("votes",)


#: The preset's β for the objectives that measure the distance from a reference; for the others the value that the
#: description of `beta` in the recipe names.
KTO = Arm("kto", "kto", BETA)
UNTOUCHED = Arm("untouched")
ARMS = (
    KTO,
    Arm("dpo", "dpo", BETA),
    Arm("ipo", "ipo", BETA),
    Arm("simpo", "simpo", 2.0),
    Arm("orpo", "orpo", 0.1),
    Arm("sft", "sft"),
    Arm("bco", "bco", BETA),
    Arm("apo_zero_unpaired", "apo_zero_unpaired", BETA),
    UNTOUCHED,
    Arm("untouched_few_shots", shots=2),
    Arm("smaller_base_kto", "kto", BETA, smaller=True),
)


@dataclass(frozen=True)
class Setting:
    """A way to run an arm. `changes` are made to the preset."""

    name: str
    changes: Mapping[str, Any]
    shots: int = 0


@dataclass(frozen=True)
class Feedback:
    """The size of the feedback that every arm starts from."""

    desirable: int  # rows, those of pairs included
    undesirable: int
    pairs: int


def settings_of(arm: Arm) -> tuple[Setting, ...]:
    """Returns the settings that are tried on the validation seed: three for every arm, the default first.

    The default, a doubled β (without β: a doubled learning rate), and a third of the learning rate; with few shots,
    other numbers of shots. The untouched model has nothing to choose.
    """
    if arm.shots:
        return tuple(Setting(f"{shots} shots", {}, shots) for shots in (arm.shots, 1, 3))
    if arm.objective is None:
        return (Setting("as it is", {}),)
    default: dict[str, Any] = {"objective": arm.objective, "learning_rate": LEARNING_RATE}
    if arm.beta is None:
        doubled = Setting("learning rate × 2", {**default, "learning_rate": 2 * LEARNING_RATE})
    else:
        default["beta"] = arm.beta
        doubled = Setting("β × 2", {**default, "beta": 2 * arm.beta})
    third = Setting("learning rate / 3", {**default, "learning_rate": LEARNING_RATE / 3})
    return (Setting("default", default), doubled, third)


def steps_per_epoch(arm: Arm, feedback: Feedback) -> int:
    rows = {
        "nothing": 0,
        "votes": feedback.desirable + feedback.undesirable,
        "desirable": feedback.desirable,
        "pairs": 2 * feedback.pairs,
    }[arm.learns_from]
    return ceil(rows / BATCH_SIZE)


def length_of_training(arm: Arm, budget: Budget, feedback: Feedback) -> dict[str, int]:
    """Returns `epochs`, and `max_steps` at equal steps, as fields of the recipe."""
    if budget == "votes":
        return {"epochs": EPOCHS}
    steps = EPOCHS * steps_per_epoch(KTO, feedback)
    return {"epochs": ceil(steps / steps_per_epoch(arm, feedback)), "max_steps": steps}


def votes_of(arm: Arm, feedback: Feedback, shots: int = 0) -> int:
    """Returns the number of judgements that an arm uses. A comparison of two replies is one judgement."""
    if arm.learns_from == "nothing":
        return shots
    if arm.learns_from == "pairs":
        return feedback.pairs
    if arm.learns_from == "desirable":
        return feedback.desirable
    return feedback.desirable + feedback.undesirable - feedback.pairs


def best_setting(settings: Sequence[Setting], good_shares: Sequence[float | None]) -> Setting:
    """Returns the setting with the largest share of good replies; the first of equal ones. A failed one has None."""
    shares = [-1.0 if share is None else share for share in good_shares]
    return settings[shares.index(max(shares))]
