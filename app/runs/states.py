"""The states of a run, the transitions between them, and their combinations with its flags and its lease. Pure.

    queued ─▶ snapshotting ─▶ referencing ─▶ training ─▶ evaluating ─▶ succeeded
    Each of these may become failed. A run that no worker holds is cancelled at once, a held one through cancelling.

A run never goes back: a lost run that is claimed again keeps its state while it catches up. `paused` and `waiting` are
not states but additional flags, which keep workers away. `MEANINGS` lists every legal combination.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from thumbwheel import wire

from app.errors import Conflict

RunState = wire.RunState
TransitionKind = wire.RunTransitionKind

S = RunState
NEXT: Mapping[RunState, frozenset[RunState]] = {
    S.QUEUED: frozenset({S.SNAPSHOTTING, S.CANCELLED, S.FAILED}),
    S.SNAPSHOTTING: frozenset({S.REFERENCING, S.CANCELLING, S.CANCELLED, S.FAILED}),
    # A trainer whose work is already done, after a kill between training and evaluating, skips the training.
    S.REFERENCING: frozenset({S.TRAINING, S.EVALUATING, S.CANCELLING, S.CANCELLED, S.FAILED}),
    S.TRAINING: frozenset({S.EVALUATING, S.CANCELLING, S.CANCELLED, S.FAILED}),
    S.EVALUATING: frozenset({S.SUCCEEDED, S.CANCELLING, S.CANCELLED, S.FAILED}),
    S.CANCELLING: frozenset({S.CANCELLED}),
    S.SUCCEEDED: frozenset(),
    S.FAILED: frozenset(),
    S.CANCELLED: frozenset(),
}

TERMINAL = frozenset(state for state, following in NEXT.items() if not following)
ACTIVE = frozenset(RunState) - TERMINAL
#: The states of a run that a worker has begun and that is not being cancelled.
WORKING = ACTIVE - {S.QUEUED, S.CANCELLING}
IN_ORDER = (S.QUEUED, S.SNAPSHOTTING, S.REFERENCING, S.TRAINING, S.EVALUATING, S.SUCCEEDED)

#: The state of a run in each phase that the trainer and the scorer write to progress.jsonl.
STATE_OF_PHASE: Mapping[str, RunState] = {
    "loading": S.REFERENCING,
    "referencing": S.REFERENCING,
    "training": S.TRAINING,
    "evaluating": S.EVALUATING,
}


# -- state × paused × waiting × lease ----------------------------------------------------------------------------------


class Hold(Enum):
    """The standing of a run's lease."""

    FREE = auto()  # no worker has the run
    HELD = auto()
    SILENT = auto()  # the lease has expired: its worker died, was frozen or cannot reach Postgres


class Reaping(Enum):
    """The action of the reaper on a run."""

    LEAVE = auto()
    RING = auto()  # notifies workers again, if the last notification is long ago
    FREE = auto()  # takes the run from the silent worker without counting a lost attempt
    LOSE = auto()  # takes the run from the silent worker, counts a lost attempt, and notifies workers or fails it
    CANCEL = auto()


@dataclass(frozen=True)
class Condition:
    """A run's state with its flags and its lease."""

    state: RunState
    paused: bool
    waiting: bool
    hold: Hold


@dataclass(frozen=True)
class Meaning:
    """The meaning of a condition: a sentence, whether a worker may claim the run, and what the reaper does to it."""

    sentence: str
    claimable: bool = False
    reaping: Reaping = Reaping.LEAVE


CONDITIONS: tuple[tuple[frozenset[RunState], bool, bool, Hold, Meaning], ...] = (
    # states, paused, waiting, lease
    (frozenset({S.QUEUED}), False, False, Hold.FREE,
        Meaning("the next worker claims it", claimable=True, reaping=Reaping.RING)),
    (frozenset({S.QUEUED}), True, False, Hold.FREE,
        Meaning("it is the project's active run, and no worker claims it until it is resumed")),
    (frozenset({S.QUEUED}), False, True, Hold.FREE,
        Meaning("it waits behind the project's active run")),
    (frozenset({S.QUEUED}), True, True, Hold.FREE,
        Meaning("it waits behind the project's active run, and is still paused when its turn comes")),
    (WORKING, False, False, Hold.FREE,
        Meaning("it was given back: the next worker continues it", claimable=True, reaping=Reaping.RING)),
    (WORKING, True, False, Hold.FREE,
        Meaning("its progress is saved, and no worker claims it until it is resumed")),
    (WORKING, False, False, Hold.HELD,
        Meaning("a worker works on it")),
    (WORKING, True, False, Hold.HELD,
        Meaning("its worker saves the progress and gives it back")),
    (WORKING, False, False, Hold.SILENT,
        Meaning("its worker is lost, and the next one continues it", claimable=True, reaping=Reaping.LOSE)),
    (WORKING, True, False, Hold.SILENT,
        Meaning("its worker is lost, perhaps because its machine was switched off", reaping=Reaping.FREE)),
    (frozenset({S.CANCELLING}), False, False, Hold.HELD,
        Meaning("its worker stops the processes and ends it")),
    (frozenset({S.CANCELLING}), False, False, Hold.SILENT,
        Meaning("its worker is lost, and the reaper ends it", reaping=Reaping.CANCEL)),
    (TERMINAL, False, False, Hold.FREE,
        Meaning("it has ended")),
)  # fmt: skip
#: Every legal condition; Postgres refuses all others. A run that waits for room on a disk is neither claimed nor reaped
#: before its `next_attempt_at`.
MEANINGS: Mapping[Condition, Meaning] = {
    Condition(state, paused, waiting, hold): meaning
    for states, paused, waiting, hold, meaning in CONDITIONS
    for state in states
}


# -- commands ----------------------------------------------------------------------------------------------------------


class Command(StrEnum):
    """A command for a run; the value is the participle that error messages use."""

    CANCEL = "cancelled"
    PAUSE = "paused"
    RESUME = "resumed"
    RETRY = "retried"
    REPRODUCE = "reproduced"


C = Command
#: A command whose effect already holds is allowed and changes nothing: a paused run may be paused.
COMMANDS: Mapping[RunState, frozenset[Command]] = {
    **dict.fromkeys(ACTIVE - {S.CANCELLING}, frozenset({C.CANCEL, C.PAUSE, C.RESUME})),
    S.CANCELLING: frozenset({C.CANCEL}),
    S.SUCCEEDED: frozenset({C.REPRODUCE}),
    S.FAILED: frozenset({C.RETRY, C.REPRODUCE}),
    S.CANCELLED: frozenset({C.CANCEL, C.RETRY, C.REPRODUCE}),
}


def require_command(state: RunState, command: Command) -> None:
    """Raises `Conflict` with the allowed commands unless a run in this state allows `command`."""
    if command in COMMANDS[state]:
        return
    allowed = sorted(permitted.name.lower() for permitted in COMMANDS[state])
    raise Conflict(
        f"The run is {state} and cannot be {command}. Allowed: {', '.join(allowed)}.",
        code="illegal_transition",
        details={"state": state, "allowed": allowed},
    )


# -- from state to state -----------------------------------------------------------------------------------------------


def following(state: RunState, *, held: bool) -> frozenset[RunState]:
    """Returns the states that may follow `state`. Only a run that a worker holds is cancelled through `cancelling`."""
    if S.CANCELLING not in NEXT[state]:
        return NEXT[state]
    return NEXT[state] - {S.CANCELLED if held else S.CANCELLING}


def require(state: RunState, wanted: RunState, *, held: bool) -> None:
    """Raises `Conflict` with the possible next states unless `wanted` may follow `state`."""
    possible = sorted(following(state, held=held))
    if wanted in possible:
        return
    raise Conflict(
        f"The run is {state} and cannot become {wanted}. Possible next states: {', '.join(possible) or 'none'}.",
        code="illegal_transition",
        details={"state": state, "allowed": possible},
    )


def ahead_of(state: RunState, phase_state: RunState) -> bool:
    """Returns whether `phase_state` comes after `state`. Both must be in `IN_ORDER`."""
    return IN_ORDER.index(phase_state) > IN_ORDER.index(state)
