"""Makes an erasure wait for legal holds. Nothing is deleted meanwhile, and nothing new is learnt from the actor.

The tombstone takes effect at once all the same, and the actor's votes are left out of labels by a decision in
quarantine: what has to be preserved is stored, and not processed further.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.database import now
from app.feedback.expiry import service as expiry
from app.labels.quarantine import service as quarantine
from app.privacy.erasures.actor_forms import forms_of
from app.privacy.erasures.tables import Erasure
from app.privacy.holds import service as holds

#: A held erasure is looked at again after this time.
WAITING = timedelta(minutes=1)


def waits(session: Session, row: Erasure, judged_any: Callable[[Collection[str]], bool]) -> bool:
    """Returns whether a legal hold covers what the erasure would delete; records the holds, and whether they ended.

    No other hold is placed until the transaction ends.

    judged_any  whether the erasure is about one of these completions, as far as it is known yet
    """
    forms = forms_of(row)
    in_force = holds.in_force(session, row.project_id)
    over = in_force.over(forms) or in_force.covering(session, judged_any)
    _record(row, over)
    if over:
        row.trouble, row.next_attempt_at = holds.sentence(over), now() + WAITING
        for form in forms:
            _restrict(session, row, form)
    return bool(over)


def _record(row: Erasure, over: Sequence[UUID]) -> None:
    known = [wire.ErasureHold.model_validate(each) for each in row.certificate.get("held", [])]
    waiting = {each.hold_id for each in known if each.until is None}
    if waiting == set(over):
        return
    at = now()
    ended = [
        each if each.until is not None or each.hold_id in over else each.model_copy(update={"until": at})
        for each in known
    ]
    begun = [wire.ErasureHold(hold_id=each, since=at, until=None) for each in over if each not in waiting]
    row.certificate = {**row.certificate, "held": [each.model_dump(mode="json") for each in (*ended, *begun)]}


def _restrict(session: Session, row: Erasure, actor: str) -> None:
    decision = quarantine.newest(session, row.project_id, actors=[actor]).get(actor)
    if (decision is not None and decision.decision == "confirmed") or not expiry.knows_actor(
        session, row.project_id, actor
    ):
        return
    reason = f"Erasure {row.id} waits for a legal hold: the feedback is kept, and not used."
    new = wire.NewQuarantineDecision(actor=actor, decision="confirmed", reason=reason)
    quarantine.decide(session, row.project_id, new, row.requested_by)
