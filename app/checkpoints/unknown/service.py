"""Counts events that name a checkpoint which the project does not have, in the background, and reports them.

Such an event is stored, since its sender may know the checkpoint before Thumbwheel does, but it counts for no
checkpoint's approval. Usually the id belongs to another project or to another service.
"""

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.checkpoints.unknown import store
from app.feedback import service as feedback

#: Distinct ids that are stored for a project: senders choose the ids, and they may be random.
MOST_IDS = 1_000
#: Events that are read in one transaction.
LOOKED_AT = 50_000
#: The number of ids in a response, and in a notice.
SHOWN, NAMED = 20, 3


def count(session: Session, project: str) -> None:
    """Counts unknown ids in the events since the last call, up to `LOOKED_AT` events."""
    before = store.counted(session, project)
    if not store.any_after(session, project, 0 if before is None else before.position):
        return
    watermark = feedback.watermark(session, project)
    store.count_part(session, store.locked(session, project), watermark, limit=LOOKED_AT, most_ids=MOST_IDS)


def unknown_checkpoints(session: Session, project: str) -> wire.UnknownCheckpoints:
    """Returns the ids that events name and that no checkpoint of the project has."""
    counted = store.counted(session, project)
    ids, events = store.totals(session, project)
    further = 0 if counted is None else counted.further_events
    return wire.UnknownCheckpoints(
        events=events + further,
        ids=ids,
        further_events=further,
        first=[
            wire.UnknownCheckpoint(checkpoint_id=row.checkpoint_id, events=row.events, last_at=row.last_at)
            for row in store.most_named(session, project, SHOWN)
        ],
        position=0 if counted is None else counted.position,
    )


def notices(unknown: wire.UnknownCheckpoints) -> list[str]:
    """Returns a sentence with the remedy if events name checkpoints that the project does not have."""
    if not unknown.events:
        return []
    named = ", ".join(f"{item.checkpoint_id} ({item.events:,})" for item in unknown.first[:NAMED])
    more = ", …" if unknown.ids > NAMED or unknown.further_events else ""
    notice = (
        f"{unknown.events:,} events name a checkpoint that the project does not have: {named}{more}. "
        "They count for no checkpoint: send the checkpoint_id that GET /v1/releases/current returns, or none."
    )
    return [notice]
