"""SQL of the comparisons of edits with their originals."""

from collections.abc import Collection, Iterator, Sequence

import polars as pl
import pyarrow as pa
from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from app.arrow_queries import arrow, literal
from app.database import is_any_of
from app.labels.tables import EditComparison
from app.labels.whole_log.read import COMPARED

KEPT_AT_ONCE = 10_000

_KEEP = text("""
    INSERT INTO edit_comparisons (project_id, position, original, alike, change, long, key)
    SELECT :project, * FROM unnest(
        CAST(:position AS bigint[]), CAST(:original AS bigint[]), CAST(:alike AS float8[]), CAST(:change AS int2[]),
        CAST(:long AS boolean[]), CAST(:key AS bytea[]))
    ON CONFLICT (project_id, position) DO UPDATE SET
        original = EXCLUDED.original, alike = EXCLUDED.alike, change = EXCLUDED.change, long = EXCLUDED.long,
        key = EXCLUDED.key
""")


def keep_compared(session: Session, project: str, found: pl.DataFrame) -> None:
    """Stores comparisons of edits with their originals. They replace older ones."""
    rows = found.sort("position")  # the same order in every transaction prevents a deadlock
    for part in rows.iter_slices(KEPT_AT_ONCE):
        session.execute(_KEEP, {"project": project, **{name: part[name].to_list() for name in COMPARED}})


def forget_compared(session: Session, project: str, positions: Collection[int]) -> int:
    """Deletes the comparisons whose edit or original was at one of these positions. Returns their number."""
    at = list(positions)
    deleted = session.execute(
        delete(EditComparison)
        .where(
            EditComparison.project_id == project,
            is_any_of(EditComparison.position, at) | is_any_of(EditComparison.original, at),
        )
        .returning(EditComparison.position)
    )
    return len(deleted.all())


def positions(session: Session, project: str, after: int, limit: int) -> Sequence[int]:
    """Returns the first positions of compared edits after this one."""
    query = select(EditComparison.position).where(EditComparison.project_id == project, EditComparison.position > after)
    return session.scalars(query.order_by(EditComparison.position).limit(limit)).all()


def compared(session: Session, project: str, watermark: int) -> Iterator[pa.RecordBatch]:
    """Returns the stored comparisons of edits up to `watermark`, as `read.COMPARED`."""
    return arrow(
        session,
        "SELECT position, original, alike, change, long, key FROM edit_comparisons "  # noqa: S608 - literals
        f"WHERE project_id = {literal(project)} AND position <= {watermark:d} ORDER BY position",
    )
