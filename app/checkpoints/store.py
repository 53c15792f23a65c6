"""SQL of checkpoints."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import column, insert, select, table, text, update
from sqlalchemy.orm import Session
from thumbwheel import wire

from app.checkpoints.tables import Checkpoint, CheckpointTexts
from app.database import is_any_of

#: The ledger belongs to app.releases, which may import this folder but not the reverse; it is read for what is live.
RELEASES = table(
    "releases",
    *map(column, ("project_id", "number", "checkpoint_id", "verdict", "by", "created_at")),
    *map(column, ("override_reason", "override_scope", "action")),
)
#: The actions of the ledger that leave the live release as it is.
BESIDE_LIVE = ("canary", "end_canary")


def of_id(session: Session, project: str, checkpoint_id: UUID) -> Checkpoint | None:
    return session.scalars(
        select(Checkpoint).where(Checkpoint.id == checkpoint_id, Checkpoint.project_id == project)
    ).one_or_none()


def of_ids(session: Session, project: str, checkpoint_ids: Iterable[UUID]) -> Sequence[Checkpoint]:
    query = select(Checkpoint).where(Checkpoint.project_id == project, is_any_of(Checkpoint.id, checkpoint_ids))
    return session.scalars(query).all()


def adapter_upon(session: Session, checkpoint_id: UUID, path: str) -> Checkpoint | None:
    """Returns the newest adapter that stands on the checkpoint and has a file at `path`."""
    query = select(Checkpoint).where(
        Checkpoint.stands_on_id == checkpoint_id, Checkpoint.kind == "adapter", Checkpoint.files.has_key(path)
    )
    return session.scalars(query.order_by(Checkpoint.id.desc()).limit(1)).one_or_none()


def base(session: Session, project: str, base_model: str) -> Checkpoint | None:
    """Returns the row of the base model in the folder `base_model`."""
    of_project = Checkpoint.project_id == project, Checkpoint.kind == "base"
    return session.scalars(select(Checkpoint).where(*of_project, Checkpoint.base_model == base_model)).one_or_none()


def insert_checkpoint(session: Session, values: dict[str, Any]) -> Checkpoint:
    return session.scalars(insert(Checkpoint).values(**values).returning(Checkpoint)).one()


def newest_first(session: Session, project: str, before: UUID | None, limit: int) -> Sequence[Checkpoint]:
    query = select(Checkpoint).where(Checkpoint.project_id == project).order_by(Checkpoint.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Checkpoint.id < before)
    return session.scalars(query).all()


def live_id(session: Session, project: str) -> UUID | None:
    """Returns the checkpoint of the project's live release."""
    query = select(RELEASES.c.checkpoint_id).where(
        RELEASES.c.project_id == project, RELEASES.c.action.not_in(BESIDE_LIVE)
    )
    return session.execute(query.order_by(RELEASES.c.number.desc()).limit(1)).scalar_one_or_none()


def overrides(session: Session, project: str, checkpoint_ids: Sequence[UUID]) -> Mapping[UUID, list[wire.Override]]:
    """Returns the releases of each checkpoint despite its verdict, oldest first; an empty list where there is none."""
    query = select(RELEASES).where(
        RELEASES.c.project_id == project,
        RELEASES.c.checkpoint_id.in_(checkpoint_ids),
        RELEASES.c.verdict.in_(("refused", "undecided")),
        RELEASES.c.action != "end_canary",
    )
    found: defaultdict[UUID, list[wire.Override]] = defaultdict(list)
    for row in session.execute(query.order_by(RELEASES.c.number)):
        found[row.checkpoint_id].append(wire.Override.model_validate(row))
    return found


def on_snapshots(session: Session, snapshot_ids: Collection[UUID]) -> Sequence[Checkpoint]:
    query = select(Checkpoint).where(Checkpoint.snapshot_id.in_(snapshot_ids)).order_by(Checkpoint.id)
    return session.scalars(query).all()


def insert_texts(session: Session, checkpoint_id: UUID, files: Mapping[str, str]) -> None:
    session.execute(insert(CheckpointTexts).values(checkpoint_id=checkpoint_id, files=dict(files)))


def texts_of(session: Session, checkpoint_ids: Collection[UUID]) -> dict[UUID, dict[str, str]]:
    """Returns the files with texts of users (path → sha256) of those checkpoints that have any."""
    rows = session.scalars(select(CheckpointTexts).where(CheckpointTexts.checkpoint_id.in_(checkpoint_ids)))
    return {row.checkpoint_id: row.files for row in rows}


def replace_texts(session: Session, checkpoint_id: UUID, files: Mapping[str, str]) -> None:
    session.execute(
        update(CheckpointTexts).where(CheckpointTexts.checkpoint_id == checkpoint_id).values(files=dict(files))
    )


_NAMED = text("""
    SELECT file.value FROM checkpoint_texts, LATERAL jsonb_each_text(files) AS file
    WHERE file.value = ANY(CAST(:hashes AS text[]))
""")


def named_texts(session: Session, hashes: Collection[str]) -> set[str]:
    """Returns those of the hashes that a checkpoint names as a file with texts of users."""
    return set(session.scalars(_NAMED, {"hashes": sorted(hashes)})) if hashes else set()
