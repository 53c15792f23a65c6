"""What strikes when, and what clients do to their runs: all of it from a seed. Pure."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

#: How often each fault strikes in 50 runs. The order is that of the table.
STRIKES: Mapping[str, int] = {
    "worker killed": 5,
    "worker's child killed": 4,
    "worker asked to stop": 4,
    "worker frozen past its lease": 6,
    "trainer killed": 7,
    "scorer killed": 4,
    "beat killed": 5,
    "API killed": 5,
    "Redis stopped for 20 s": 3,
    "Redis hangs for 20 s": 3,
    "Redis killed, its data lost": 4,
    "Postgres stopped at once": 6,
    "disk full": 4,
    "old messages sent again": 4,
}
MOMENTS = ("snapshotting", "referencing", "training", "training", "training", "evaluating")
#: Faults that want a run at a certain point; the others strike whatever runs.
MOMENT_OF: Mapping[str, str] = {"trainer killed": "training", "scorer killed": "evaluating", "disk full": "training"}


@dataclass(frozen=True)
class Blow:
    fault: str
    run: float  # when so many runs have been asked for
    pause: float  # and then after so many seconds,
    moment: str  # when a run is in this state
    dice: float  # in [0, 1): for how long, which of several


@dataclass(frozen=True)
class Wish:
    """What a client does to a run once it is in the state `at`."""

    what: str  # "nothing", "cancel" or "pause"
    at: str
    again: bool  # whether a run that was cancelled, or that failed, is retried
    another: bool  # whether the next one is asked for at once, to wait for the end of this one


def blows(seed: int, runs: int, only: frozenset[str] | None = None) -> list[Blow]:
    """Each fault as often as STRIKES says of 50 runs, once at least; in the order in which they strike."""
    dice = random.Random(f"{seed} blows")
    made = [
        Blow(
            fault,
            dice.uniform(0, max(0.0, runs - 1.5)),
            dice.uniform(0, 3),
            MOMENT_OF.get(fault) or dice.choice(MOMENTS),
            dice.random(),
        )
        for fault, often in STRIKES.items()
        if only is None or fault in only
        for _ in range(max(1, round(often * runs / 50)))
    ]
    return sorted(made, key=lambda blow: blow.run)


def wishes(seed: int, runs: int) -> list[Wish]:
    """Of each run."""
    dice = random.Random(f"{seed} wishes")
    found = []
    for _ in range(runs):
        what = dice.choices(("nothing", "cancel", "pause"), weights=(16, 2, 2))[0]
        found.append(Wish(what, dice.choice(("queued", *MOMENTS)), dice.random() < 0.6, dice.random() < 0.15))
    return found
