"""Redacts snapshots whose feedback has expired, one at a time; never one that a run or a comparison uses.

With `redact`, a row goes once no event about its completion is left. With `keep`, a snapshot stays whole until it is
older than the months that are kept, and no release that is live or a canary comes from it; then all of its rows go.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.feedback.expiry import service as expiry
from app.privacy.lineage import service as lineage
from app.releases import service as releases
from app.runs.comparisons import service as comparisons
from app.snapshots.redactions import service as redactions

#: Ids that are looked up at a time.
AT_ONCE = 10_000


@dataclass(frozen=True)
class Redaction:
    """One step over the snapshots.

    place     the snapshots that were looked at, and whether one of them is in use; None: all have been
    snapshot  what was redacted
    in_use    why a snapshot could not be redacted yet
    """

    place: str | None
    snapshot: wire.ErasedSnapshot | None = None
    in_use: str | None = None


def redact_next(
    session: Session, project: str, rules: wire.RetentionRules, held: Collection[str], place: str
) -> Redaction:
    """Looks at the next live snapshot of a project, and redacts it if its feedback has expired.

    held   completions whose rows stay
    place  where the step before stopped; empty at the beginning

    Raises `Unavailable` if the artifact store does not answer.
    """
    redactions.purge(session, project)  # of the previous transaction, which is committed
    after, _, waits = place.partition(" ")
    found = redactions.next_live(session, project, UUID(after) if after else None)
    if found is None:
        in_use = f"Snapshot {waits} has expired rows and is used by a run or a comparison: it waits for their end."
        return Redaction(None, in_use=in_use if waits else None)
    snapshot_id, created_at = found
    if rules.snapshots == "keep" and not _has_expired(session, project, rules, snapshot_id, created_at):
        return Redaction(_place(snapshot_id, waits))
    gone = _expired_rows(session, project, rules, snapshot_id) - set(held)
    if not gone:
        return Redaction(_place(snapshot_id, waits))
    redactions.keep_from_runs(session, snapshot_id)
    if is_in_use(session, project, snapshot_id):
        return Redaction(_place(snapshot_id, str(snapshot_id)))
    redacted = asdict(redactions.redact(session, snapshot_id, gone, erasure_id=None))
    return Redaction(_place(snapshot_id, waits), wire.ErasedSnapshot.model_validate(redacted))


def is_in_use(session: Session, project: str, snapshot_id: UUID) -> bool:
    """Returns whether a run or a comparison that has not ended uses the snapshot."""
    runs = lineage.runs_on(session, project, [snapshot_id], active=True)
    return bool(runs) or snapshot_id in comparisons.snapshots_in_use(session, project)


def _has_expired(
    session: Session, project: str, rules: wire.RetentionRules, snapshot_id: UUID, created_at: datetime
) -> bool:
    if rules.months is None or created_at >= expiry.keeps_from(rules.months):
        return False
    release = releases.current(session, project)
    shipped = [release.checkpoint_id, *([release.canary.checkpoint_id] if release.canary else [])]
    of = lineage.checkpoints_of(session, project, lineage.with_predecessors(session, [snapshot_id]))
    return not any(checkpoint.itself and checkpoint.checkpoint_id in shipped for checkpoint in of)


def _expired_rows(session: Session, project: str, rules: wire.RetentionRules, snapshot_id: UUID) -> set[str]:
    ids = redactions.completions_of(session, snapshot_id)
    if rules.snapshots == "keep":
        return ids
    ordered = sorted(ids)
    parts = (ordered[start : start + AT_ONCE] for start in range(0, len(ordered), AT_ONCE))
    return {each for part in parts for each in expiry.unheard_of(session, project, part)}


def _place(snapshot_id: UUID, waits: str) -> str:
    return f"{snapshot_id} {waits}".strip()
