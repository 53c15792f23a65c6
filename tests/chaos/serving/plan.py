"""The acts on the ledger and the kills in them, drawn from a seed. Pure."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Act = Literal["ship", "share", "raise", "roll back"]
Killed = Literal["worker", "API", "target"]

ACTS: Sequence[Act] = ("ship", "share", "raise", "roll back")
#: More canaries than anything else: each of the others can end one.
WEIGHTS = (3, 5, 2, 3)
KILLED: Sequence[Killed] = ("worker", "API", "target")
#: Share of the blows after which everything may settle; after the others, the next one comes at once.
SETTLING = 0.6


@dataclass(frozen=True)
class Blow:
    """An act with a kill in the middle.

    moment   in [0, 1): when in the act, or in its load, the process is killed
    away     seconds until it is started again
    settles  whether the next blow waits until all targets are in step
    pause    seconds until the next blow otherwise
    dice     in [0, 1): which checkpoint, and which target
    """

    act: Act
    killed: Killed
    moment: float
    away: float
    settles: bool
    pause: float
    dice: float


def blows(seed: int, kills: int) -> list[Blow]:
    """Draws the blows: each process is killed equally often, in any order."""
    dice = random.Random(f"{seed} serving")
    killed = [KILLED[number % len(KILLED)] for number in range(kills)]
    dice.shuffle(killed)
    return [
        Blow(
            act=dice.choices(ACTS, WEIGHTS)[0],
            killed=each,
            moment=dice.random(),
            away=dice.uniform(0.3, 2.5),
            settles=dice.random() < SETTLING,
            pause=dice.uniform(0.2, 1.5),
            dice=dice.random(),
        )
        for each in killed
    ]
