"""Lists, shows and opens snapshots and their files for readers."""

from collections.abc import Mapping
from contextlib import closing
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app import artifacts
from app.artifacts import OpenFile
from app.errors import Gone, NotFound
from app.pages import Page, key_of_cursor, page_of
from app.snapshots.reading import store
from app.snapshots.reading.store import Read

#: The files of a redacted snapshot that stay readable: they have figures and hashes, and no text of users.
CARD, MANIFEST, ORIGIN = "card.md", "manifest.json", "origin.json"


def get(session: Session, project: str, snapshot_id: UUID) -> wire.SnapshotDetail:
    """Returns the snapshot with its manifest. Raises `NotFound`."""
    read = _require(session, project, snapshot_id)
    return wire.SnapshotDetail.model_validate({**_shown(read), "manifest": read[0].manifest})


def page(session: Session, project: str, *, cursor: str | None, limit: int) -> Page[wire.Snapshot]:
    """Returns a page of the project's snapshots, newest first, including redacted ones."""
    rows = store.newest_first(session, project, key_of_cursor(cursor, UUID), limit + 1)
    return page_of(rows, limit, lambda read: str(read[0].id), lambda read: wire.Snapshot.model_validate(_shown(read)))


def card(session: Session, project: str, snapshot_id: UUID) -> str:
    """Returns the card as Markdown. Raises `NotFound`, `Unavailable`."""
    with closing(open_file(session, project, snapshot_id, CARD)) as source:
        return b"".join(source.chunks()).decode()


def open_file(session: Session, project: str, snapshot_id: UUID, path: str) -> OpenFile:
    """Opens a file of the snapshot. Raises `NotFound`, `Unavailable`, or `Gone` if the snapshot was redacted."""
    snapshot, redaction = _require(session, project, snapshot_id)
    sha256 = snapshot.files.get(path)
    if sha256 is None:
        listing = f"it has {', '.join(sorted(snapshot.files))}" if snapshot.files else "it has no files"
        raise NotFound(f"Snapshot {snapshot_id} has no file {path!r}: {listing}.", code="file_not_found")
    if redaction is not None and path not in (CARD, MANIFEST, ORIGIN):
        successor = redaction.successor_id
        rest = f"pull {successor}, which has its other rows" if successor else "no row of it is left"
        raise Gone(
            f"The rows of snapshot {snapshot_id} were deleted by an erasure or the project's retention: {rest}.",
            code="snapshot_redacted",
            details={"successor_id": None if successor is None else str(successor)},
        )
    return artifacts.open_verified(sha256)


def _require(session: Session, project: str, snapshot_id: UUID) -> Read:
    read = store.of_id(session, project, snapshot_id)
    if read is None:
        raise NotFound(f"Project {project} has no snapshot {snapshot_id}.", code="snapshot_not_found")
    return read


def _shown(read: Read) -> dict[str, Any]:
    snapshot, redaction = read
    counts = snapshot.manifest.get("counts", {})
    return {
        **{name: getattr(snapshot, name) for name in ("id", "sha256", "watermark", "created_at", "files")},
        "project": snapshot.project_id,
        "policy": snapshot.manifest.get("policy"),
        "counts": {split: of_it for split, of_it in counts.items() if split != "later" or _rows(of_it)},
        "redacted_at": redaction.redacted_at if redaction else None,
        "successor_id": redaction.successor_id if redaction else None,
    }


def _rows(counted: Mapping[str, float]) -> float:
    return counted["desirable"] + counted["undesirable"]
