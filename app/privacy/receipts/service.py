"""Makes receipts, which show the sender of an event how the event was used."""

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.feedback import service as feedback
from app.feedback.reading import not_preferred
from app.labels.previews import service as previews
from app.privacy.lineage import service as lineage
from app.snapshots.redactions import service as redactions


def receipt(session: Session, project: str, event_id: str) -> wire.Receipt:
    """Returns the receipt of an event. Raises `NotFound`, also for an erased event."""
    event = feedback.event(session, project, event_id)
    rows = [row for about in _about(event) for row in redactions.memberships(session, project, about)]
    of = lineage.with_predecessors(session, {row.snapshot_id for row in rows})
    return wire.Receipt(
        event_id=event.event_id,
        position=event.position,
        received_at=event.received_at,
        completion_id=event.completion_id,
        never_train=event.never_train,
        label=_label(previews.explain(session, project, event.completion_id), event_id),
        snapshots=[
            wire.ReceiptSnapshot(
                snapshot_id=row.snapshot_id,
                completion_id=row.row,
                split=row.split,
                label="nothing" if row.label is None else "desirable" if row.label else "undesirable",
                weight=row.weight,
                reason=row.reason,
            )
            for row in rows
        ],
        runs=lineage.runs_on(session, project, of),
        checkpoints=lineage.checkpoints_of(session, project, of),
    )


def _about(event: wire.StoredEvent) -> list[str]:
    """Returns the completions that the event is about; a preference is about two."""
    signal = event.signal
    if signal["kind"] != "preference":
        return [event.completion_id]
    other = not_preferred.id_of(event.completion_id, signal.get("rejected"), signal.get("rejected_completion_id"))
    return [event.completion_id, other]


def _label(explained: wire.LabelExplanation, event_id: str) -> wire.ReceiptLabel:
    """Returns the completion's label with the signal of this event alone."""
    [own] = [signal for signal in explained.signals if signal.event_id == event_id]
    return wire.ReceiptLabel(
        policy=explained.policy,
        version=explained.version,
        label=explained.label,
        weight=explained.weight,
        reasons=explained.reasons,
        sentence=explained.sentence,
        signal=wire.ReceiptSignal(
            signal=own.signal, says=own.says, label=own.label, weight=own.weight, counts=own.counts, why=own.why
        ),
    )
