"""The words of answers about bodies: errors of single ones, and the outcomes of the items of a batch. Pure."""

from typing import Any

from app.errors import Conflict, Fault, Faults, ThumbwheelError, brief
from app.feedback.ingest.kinds import BodyOutcome, Kind, Result

ERASED = ("erased", "erased_actor")
#: The largest number of characters in the faults of one item of a batch.
MOST_ERROR = 1000


def accepted(kind: Kind, outcome: Result) -> BodyOutcome:
    """Returns the outcome of a single body that is stored, now or before. Raises the error of any other."""
    if isinstance(outcome, ThumbwheelError):
        raise outcome
    if outcome.status == "conflict":
        raise Conflict(
            _conflict(kind, outcome),
            code=f"{kind.id_name}_taken",
            faults=[Fault(pointer, "differs from what is stored under this id") for pointer in outcome.differs],
            details={kind.id_name: outcome.id, "differs": list(outcome.differs)},
        )
    if outcome.status in ERASED:
        code = "actor_erased" if outcome.status == "erased_actor" else f"{kind.name}_erased"
        raise Conflict(_erased(kind, outcome), code=code, details={kind.id_name: outcome.id})
    return outcome


def answer_to_item(kind: Kind, index: int, own_id: str, outcome: Result) -> dict[str, Any]:
    """Returns the answer to an item of a batch that was read."""
    if isinstance(outcome, ThumbwheelError):
        if outcome.faults:
            return answer_to_faulty(kind, index, Faults(outcome.faults, outcome.faults_total), own_id)
        return {
            "index": index, kind.id_name: own_id, "status": "invalid", "error": outcome.message, "pointer": "",
        }  # fmt: skip
    if outcome.status in ERASED:
        message = _erased(kind, outcome)
        return {"index": index, kind.id_name: outcome.id, "status": "erased", "error": message, "pointer": ""}
    answer = {"index": index, kind.id_name: outcome.id, "status": outcome.status}
    if outcome.status == "conflict":
        differs = list(outcome.differs)
        answer |= {"error": _conflict(kind, outcome), "pointer": differs[0], "differs": differs}
    return answer


def answer_to_faulty(kind: Kind, index: int, faults: Faults, own_id: str | None) -> dict[str, Any]:
    """Returns the answer to an item of a batch that is not valid."""
    sentence = brief("; ".join(f"{fault.pointer or 'the item'}: {fault.message}" for fault in faults), MOST_ERROR)
    if faults.total > len(faults):
        sentence += f" ({faults.total:,} faults in all)"
    item = {"index": index, "status": "invalid", "error": _sendable(sentence), "pointer": faults[0].pointer}
    return item if own_id is None else item | {kind.id_name: own_id}


def _sendable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _conflict(kind: Kind, outcome: BodyOutcome) -> str:
    fields = ", ".join(outcome.differs)
    return (
        f"The {kind.name} {outcome.id} is stored with another {fields}: send the same body to retry, "
        f"or a new {kind.id_name} to say something new."
    )


def _erased(kind: Kind, outcome: BodyOutcome) -> str:
    if outcome.status == "erased_actor":
        return (
            "The actor was erased, and new events of theirs are refused: stop sending them, or have an admin let "
            "the actor come back (DELETE /v1/erasures/{id}/tombstone)."
        )
    return f"The {kind.name} {outcome.id} was erased, and its id stays taken: new feedback needs a new {kind.id_name}."
