"""The webhook that a row of a run's history is published as: its type and its reason. Pure."""

from collections.abc import Mapping

from app.errors import brief
from app.runs.states import RunState, TransitionKind

K = TransitionKind
#: The kinds whose type does not depend on the states. Kinds that are neither here nor below are not published.
TYPES: Mapping[TransitionKind, str] = {
    K.REQUESTED: "run.requested",
    K.WAITS: "run.requested",
    K.MOVED: "run.moved",
    K.PAUSED: "run.paused",
    K.RESUMED: "run.resumed",
    K.HELD_UP: "run.held_up",
    K.SILENT: "run.lost",
    K.LOST: "run.lost",
}


#: The beginning of the reason of a failure that no rule foresaw. The error of a library follows, which may quote
#: anything; webhooks leave it out.
UNFORESEEN = "unexpected error, the worker's log has the details"
MOST_REASON = 500


def public_reason(reason: str) -> str:
    """Returns the reason of a transition as webhooks tell it: bounded, and without the error of a library."""
    return UNFORESEEN if reason.startswith(UNFORESEEN) else brief(reason, MOST_REASON)


def type_of(kind: TransitionKind, before: str | None, after: str) -> str | None:
    """Returns the type of the webhook for a transition, None if there is none. A run starts with its first claim."""
    if kind is K.CLAIMED:
        return "run.started" if before == RunState.QUEUED else None
    if kind in (K.ENDED, K.GIVEN_UP):
        return f"run.{RunState(after)}"
    return TYPES.get(kind)
