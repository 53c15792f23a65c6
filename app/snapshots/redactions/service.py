"""Finds the snapshots with rows of a completion, and replaces snapshots by successors without some rows."""

import json
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app import artifacts
from app.checkpoints.samples import service as samples
from app.database import now
from app.snapshots import service as snapshots
from app.snapshots.balance.plan import plan
from app.snapshots.balance.writers import writers_of
from app.snapshots.files.parquet import CARD, MANIFEST, MEMBERS, ORIGIN, PAIRS
from app.snapshots.files.prompt_key import prompt_key
from app.snapshots.files.write import write_about
from app.snapshots.prompts.split import Split
from app.snapshots.redactions import store
from app.snapshots.redactions.rewrite import Member, completions_in, ids_among, members_of, prompts_of, row_at, without
from app.snapshots.tables import Snapshot, SnapshotRedaction

#: The files that a redacted snapshot keeps: they have figures and hashes, and no text of users.
KEPT = (MANIFEST, ORIGIN, CARD)


@dataclass(frozen=True)
class Membership:
    """A snapshot's row of one completion. `row`: the id of the row, which is that of another completion with the same
    text if the two were collapsed · `label`: None for a row for pairs alone."""

    snapshot_id: UUID
    row: str
    split: Split
    label: bool | None
    weight: float
    reason: str


@dataclass(frozen=True)
class Redacted:
    """A redaction. `successor_id`, `successor_sha256`: None if no row is left · `rows`: the number of removed rows,
    from `shards`."""

    snapshot_id: UUID
    sha256: str
    successor_id: UUID | None
    successor_sha256: str | None
    rows: int
    shards: list[str]


def memberships(session: Session, project: str, completion_id: str) -> list[Membership]:
    """Returns the rows of the completion in live snapshots, oldest first. Raises `NotFound`, `Unavailable`."""
    return [
        _membership(snapshot, member)
        for snapshot in store.live(session, project)
        for member in _members(snapshot, [completion_id])
    ]


def next_affected(
    session: Session, project: str, completion_ids: Collection[str], *, after: UUID | None, limit: int
) -> tuple[UUID | None, UUID | None]:
    """Searches the next `limit` live snapshots for the first that has rows of these completions.

    Returns its id, or None without one, and the id of the last snapshot that was searched, or None after the last.
    """
    following = store.live_after(session, project, after, limit)
    for snapshot in following:
        if any(True for _ in _members(snapshot, completion_ids)):
            return snapshot.id, snapshot.id
    return None, following[-1].id if len(following) == limit else None


def live(session: Session, project: str) -> list[tuple[UUID, datetime]]:
    """Returns id and time of the snapshots that were not redacted, oldest first."""
    return [(snapshot.id, snapshot.created_at) for snapshot in store.live(session, project)]


def next_live(session: Session, project: str, after: UUID | None) -> tuple[UUID, datetime] | None:
    """Returns id and time of the next snapshot that was not redacted, None after the last one."""
    following = store.live_after(session, project, after, 1)
    return (following[0].id, following[0].created_at) if following else None


def keep_from_runs(session: Session, snapshot_id: UUID) -> None:
    """Makes runs that would begin on this snapshot wait until the transaction ends."""
    store.lock(session, snapshot_id)


def completions_of(session: Session, snapshot_id: UUID) -> set[str]:
    """Returns the completions behind the rows of a snapshot. Raises `NotFound`, `Unavailable`."""
    snapshot = snapshots.require(session, snapshot_id)
    if MEMBERS not in snapshot.files:
        return set()  # an imported snapshot may have no members
    with artifacts.open_stream(snapshot.files[MEMBERS]) as file:
        return set(completions_in(file))


def redact(
    session: Session, snapshot_id: UUID, completion_ids: Collection[str], *, erasure_id: UUID | None
) -> Redacted:
    """Registers the successor of a snapshot, without the rows of these completions, and marks the snapshot as redacted.

    erasure_id  None: the retention of the project requires it

    `purge` deletes its files after the commit. A second call changes nothing. Raises `NotFound`.
    """
    snapshot = snapshots.require(session, snapshot_id)
    store.lock(session, snapshot_id)
    redaction = store.redaction_of(session, snapshot_id)
    if redaction is None:
        with tempfile.TemporaryDirectory(prefix="thumbwheel-redaction-") as folder:
            redaction = _redact(session, snapshot, completion_ids, erasure_id, Path(folder))
    successor = None if redaction.successor_id is None else snapshots.require(session, redaction.successor_id)
    return Redacted(
        snapshot_id=snapshot.id,
        sha256=snapshot.sha256,
        successor_id=redaction.successor_id,
        successor_sha256=None if successor is None else successor.sha256,
        rows=redaction.rows,
        shards=redaction.shards,
    )


def purge(session: Session, project: str) -> int:
    """Deletes the files that only redacted snapshots have, and returns their number. Raises `Unavailable`.

    Pairs stay: they are numbers without text, and a snapshot that another project is just making may have equal ones.
    """
    hashes = store.files_of_redacted(session, project, (*KEPT, PAIRS))
    for sha256 in hashes:
        artifacts.delete(sha256)
    return len(hashes)


def _redact(
    session: Session, snapshot: Snapshot, completion_ids: Collection[str], erasure_id: UUID | None, folder: Path
) -> SnapshotRedaction:
    snapshots.stage(session, snapshot.id, folder / "whole")
    rest = folder / "rest"
    rest.mkdir()
    remaining = without(snapshot.manifest, folder / "whole", completion_ids, rest)
    successor = None
    if remaining.parts["shards"] or remaining.parts["pairs"]["shards"]:
        manifest = _manifest(snapshot, remaining.parts, remaining.rows)
        planned = plan(remaining.cells, pairs=remaining.parts["pairs"]["train"])
        manifest |= {"plan": planned.model_dump(), "lambda": snapshots.lambdas_of(planned)}
        origin = _origin(folder / "whole" / ORIGIN)
        about = manifest if origin is None else origin
        if (before := about.get("writers")) is not None:  # still older snapshots have none
            reference = before["reference_checkpoint_id"]
            writers = writers_of(remaining.cells, None if reference is None else UUID(reference), remaining.ages)
            about["writers"] = writers.model_dump(mode="json")
        write_about(manifest, origin, rest)
        successor = snapshots.register(session, snapshot.project_id, snapshot.watermark, manifest, rest)
    for sha256 in store.forget_log_probs(session, snapshot.id):
        artifacts.delete(sha256)
    _redact_samples(session, snapshot.id, successor)
    values = {
        "snapshot_id": snapshot.id, "successor_id": successor, "erasure_id": erasure_id, "rows": remaining.rows,
        "shards": remaining.shards, "redacted_at": now(),
    }  # fmt: skip
    return store.add_redaction(session, values)


def _origin(path: Path) -> dict[str, Any] | None:
    """Returns the origin of a snapshot; None for an older one, whose manifest holds it."""
    if not path.exists():
        return None
    origin: dict[str, Any] = json.loads(path.read_bytes())
    return origin


def redact_samples(session: Session, snapshot_id: UUID) -> None:
    """Removes the samples of erased prompts from the checkpoint of this snapshot that was just registered.

    The run may have sampled while its snapshot was redacted. Either this sees the redaction, or the redaction, which
    waits for the transaction of the registration, sees the checkpoint. Raises `Unavailable`.
    """
    current: UUID | None = snapshot_id
    while current is not None and (redaction := store.redaction_of(session, current)) is not None:
        current = redaction.successor_id
    if current != snapshot_id:
        _redact_samples(session, snapshot_id, current)


def _redact_samples(session: Session, snapshot_id: UUID, successor_id: UUID | None) -> None:
    successor = None if successor_id is None else snapshots.require(session, successor_id)
    groups = set() if successor is None else _held_out(successor)

    left: dict[str, bool] = {}

    def rows_left(completion_ids: Collection[str]) -> set[str]:
        # Checkpoints of one snapshot replayed mostly the same answers, so its shards are read once for all of them.
        unknown = set(completion_ids) - left.keys()
        found = set() if successor is None else _with_rows(successor, unknown)
        left.update({each: each in found for each in unknown})
        return {each for each in completion_ids if left[each]}

    for sha256 in samples.redact(session, store.with_predecessors(session, snapshot_id), groups, rows_left):
        artifacts.delete(sha256)


def _held_out(snapshot: Snapshot) -> set[str]:
    """Returns the keys of the held-out prompts, in hex."""
    keys: set[str] = set()
    for shard in snapshot.manifest["shards"]:
        if shard["split"] == "holdout":
            with artifacts.open_stream(shard["sha256"]) as file:
                keys.update(prompt_key(prompt).hex() for prompt in prompts_of(file))
    return keys


def _with_rows(snapshot: Snapshot, completion_ids: Collection[str]) -> set[str]:
    """Returns those of the completion ids that have a labelled row in the snapshot."""
    found: set[str] = set()
    for shard in snapshot.manifest["shards"] if completion_ids else ():
        with artifacts.open_stream(shard["sha256"]) as file:
            found.update(ids_among(file, completion_ids))
    return found


def _manifest(snapshot: Snapshot, parts: Mapping[str, Any], rows: int) -> dict[str, Any]:
    before = snapshot.manifest.get("redacted", {"rows": 0})
    return {
        **snapshot.manifest,
        **parts,
        "redacted": {"predecessor": snapshot.sha256, "rows": before["rows"] + rows},
    }


def _members(snapshot: Snapshot, completion_ids: Collection[str]) -> list[Member]:
    if MEMBERS not in snapshot.files:
        return []  # an imported snapshot may have no members
    with artifacts.open_stream(snapshot.files[MEMBERS]) as file:
        return list(members_of(file, completion_ids))


def _membership(snapshot: Snapshot, member: Member) -> Membership:
    listed = [*snapshot.manifest["shards"], *snapshot.manifest["pairs"].get("shards", ())]
    [shard] = [shard for shard in listed if shard["path"] == member.shard]
    with artifacts.open_stream(shard["sha256"]) as file:
        row = row_at(file, member.number)
    return Membership(snapshot.id, member.row, shard["split"], row["label"], row["weight"], row["reason"])
