"""The plan of faults and of the clients' acts, drawn from a seed. Pure."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

#: How often each fault strikes in 50 runs. The order is that of the table.
STRIKES: Mapping[str, int] = {
    "worker killed": 5,
    "worker's child killed": 4,
    "worker stopped": 4,
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
#: Faults that need a run in a certain state; the others strike any run.
MOMENT_OF: Mapping[str, str] = {"trainer killed": "training", "scorer killed": "evaluating", "disk full": "training"}


@dataclass(frozen=True)
class Blow:
    fault: str
    run: float  # number of requested runs at which the fault becomes due
    pause: float  # seconds to wait after that
    moment: str  # state in which a run is struck
    dice: float  # in [0, 1): decides on durations and variants of the fault


@dataclass(frozen=True)
class Wish:
    """An act of a client on a run that has reached the state `at`."""

    what: str  # "nothing", "cancel" or "pause"
    at: str
    again: bool  # whether a run that was cancelled or failed is retried
    another: bool  # whether the next run is requested at once and waits for the end of this one


def blows(seed: int, runs: int, only: frozenset[str] | None = None) -> list[Blow]:
    """Draws the strikes in their order: each fault as often per 50 runs as STRIKES says, and at least once."""
    dice = random.Random(f"{seed} blows")
    planned = [
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
    return sorted(planned, key=lambda blow: blow.run)


def wishes(seed: int, runs: int) -> list[Wish]:
    """Draws an act of the client for each run."""
    dice = random.Random(f"{seed} wishes")
    drawn = []
    for _ in range(runs):
        what = dice.choices(("nothing", "cancel", "pause"), weights=(16, 2, 2))[0]
        drawn.append(Wish(what, dice.choice(("queued", *MOMENTS)), dice.random() < 0.6, dice.random() < 0.15))
    return drawn
