"""The states of a run and which may follow which. Pure.

    queued ─▶ snapshotting ─▶ referencing ─▶ training ─▶ evaluating ─▶ succeeded
    each of these may become failed; a queued one is cancelled at once, a claimed one by way of cancelling

A run never goes back: one that was lost and is claimed again keeps its state while it catches up. To be paused, and to
wait behind another run, are no states: they stand beside it, and keep workers away.
"""

from collections.abc import Mapping
from enum import StrEnum

from app.errors import Conflict


class RunState(StrEnum):
    QUEUED = "queued"
    SNAPSHOTTING = "snapshotting"
    REFERENCING = "referencing"
    TRAINING = "training"
    EVALUATING = "evaluating"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


S = RunState
NEXT: Mapping[RunState, frozenset[RunState]] = {
    S.QUEUED: frozenset({S.SNAPSHOTTING, S.CANCELLED, S.FAILED}),
    S.SNAPSHOTTING: frozenset({S.REFERENCING, S.CANCELLING, S.FAILED}),
    # A trainer that finds its work done, after a kill between training and evaluating, goes straight on.
    S.REFERENCING: frozenset({S.TRAINING, S.EVALUATING, S.CANCELLING, S.FAILED}),
    S.TRAINING: frozenset({S.EVALUATING, S.CANCELLING, S.FAILED}),
    S.EVALUATING: frozenset({S.SUCCEEDED, S.CANCELLING, S.FAILED}),
    S.CANCELLING: frozenset({S.CANCELLED}),
    S.SUCCEEDED: frozenset(),
    S.FAILED: frozenset(),
    S.CANCELLED: frozenset(),
}

TERMINAL = frozenset(state for state, following in NEXT.items() if not following)
ACTIVE = frozenset(RunState) - TERMINAL
#: States in which a worker has to hold the run's lease.
WORKING = ACTIVE - {S.QUEUED, S.CANCELLING}
IN_ORDER = (S.QUEUED, S.SNAPSHOTTING, S.REFERENCING, S.TRAINING, S.EVALUATING, S.SUCCEEDED)

#: What the trainer's and the scorer's phases (progress.jsonl) mean for the run.
STATE_OF_PHASE: Mapping[str, RunState] = {
    "loading": S.REFERENCING,
    "referencing": S.REFERENCING,
    "training": S.TRAINING,
    "evaluating": S.EVALUATING,
}


class Command(StrEnum):
    """What somebody may ask of a run; the values are how it is said of one."""

    CANCEL = "cancelled"
    PAUSE = "paused"
    RESUME = "resumed"
    RETRY = "retried"
    REPRODUCE = "reproduced"


C = Command
_ON_THE_WAY = frozenset({C.CANCEL, C.PAUSE, C.RESUME})
#: To be asked for what is so already changes nothing, so a paused run may be paused.
COMMANDS: Mapping[RunState, frozenset[Command]] = {
    **dict.fromkeys(ACTIVE - {S.CANCELLING}, _ON_THE_WAY),
    S.CANCELLING: frozenset({C.CANCEL}),
    S.SUCCEEDED: frozenset({C.REPRODUCE}),
    S.FAILED: frozenset({C.RETRY, C.REPRODUCE}),
    S.CANCELLED: frozenset({C.RETRY, C.REPRODUCE}),
}


def require_command(state: RunState, command: Command) -> None:
    """Raises `Conflict`, which says what may be asked of a run in this state, unless `command` is among that."""
    if command in COMMANDS[state]:
        return
    allowed = sorted(COMMANDS[state])
    raise Conflict(
        f"A run that is {state} cannot be {command}; what it can be is {', '.join(allowed)}.",
        code="illegal_transition",
        details={"state": state, "allowed": [Command(name).name.lower() for name in allowed]},
    )


def require(current: RunState, wanted: RunState) -> None:
    """Raises `Conflict`, which says what may follow, unless `wanted` may follow `current`."""
    if wanted in NEXT[current]:
        return
    following = ", ".join(sorted(NEXT[current])) or "nothing: the run has ended"
    raise Conflict(
        f"A run that is {current} cannot become {wanted}; what may follow is {following}.",
        code="illegal_transition",
        details={"state": current, "allowed": sorted(NEXT[current])},
    )


def ahead_of(current: RunState, phase_state: RunState) -> bool:
    """Whether `phase_state` lies further on the way than `current`, which must be on it."""
    return IN_ORDER.index(phase_state) > IN_ORDER.index(current)
