"""Reading the log completion by completion, for previews and explanations."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import polars as pl
from sqlalchemy import Row
from sqlalchemy.orm import Session

from app.feedback.reading.completions import store


def prompts(session: Session, project: str, watermark: int) -> pl.DataFrame:
    """Returns completion_id and prompt of each completion up to `watermark`; equal prompts have equal numbers."""
    return store.prompts(session, project, watermark)


def texts(
    session: Session, project: str, completion_ids: Collection[str], watermark: int
) -> dict[str, tuple[Any, str | None]]:
    """Returns prompt and completion of each of these that has a text, by id."""
    return store.texts(session, project, completion_ids, watermark)


def signals_about(session: Session, project: str, completion_id: str, watermark: int) -> Sequence[Row[Any]]:
    """Returns the signals about one completion by time: see `store.signals_about`."""
    return store.signals_about(session, project, completion_id, watermark)


def segment_values(session: Session, project: str, key: str, hashes: Mapping[int, str]) -> dict[int, str]:
    """Returns the values of metadata with these hashes (see `LogSource.segments`), each known by the id of a completion
    that has it.
    """
    return store.segment_values(session, project, key, hashes)
