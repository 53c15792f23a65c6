"""Reads the log of a project for its labels."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl
import pyarrow as pa
from sqlalchemy.orm import Session
from thumbwheel import wire

from app import whole_log_turns
from app.feedback import service as feedback
from app.feedback.reading import service as reading
from app.labels import store
from app.labels.verdicts import Context
from app.labels.whole_log import read
from app.labels.whole_log.events import Log
from app.labels.whole_log.labelled import Labelled
from app.labels.whole_log.parts import Logs, Whole, parted

Prompt = str | list[dict[str, Any]]
EVERYTHING = 2**63 - 1
#: Events of a large log that are in memory at a time. A log of up to WHOLE such parts is read at once, as parts take
#: a third longer.
PART, WHOLE = 250_000, 4
#: The largest log, in events, that every request may read.
SMALL = 5_000


@dataclass(frozen=True)
class ComparedLogSource(reading.LogSource):
    """The log with the stored comparisons of its edits, for `whole_log.read`."""

    def compared(self) -> Iterator[pa.RecordBatch]:
        """Returns the stored comparisons of edits, as `read.COMPARED`."""
        return store.compared(self.session, self.project, self.watermark)


def context(session: Session, project: str, policy: wire.LabelPolicy, watermark: int) -> Context:
    """Returns the facts that a resolution of the log up to `watermark` needs in addition to the signals."""
    end = as_of(session, project, watermark)
    thresholds = policy.signals.rating.thresholds
    if thresholds.kind == "fixed":
        return Context(end)
    since = end - timedelta(days=thresholds.days)
    return Context(end, reading.rating_median(session, project, watermark, since, thresholds.minimum))


def as_of(session: Session, project: str, watermark: int) -> datetime:
    """Returns when the newest event up to `watermark` was received; the beginning of 1970 for an empty log."""
    return reading.end(session, project, watermark) or datetime(1970, 1, 1, tzinfo=UTC)


def is_large(session: Session, project: str) -> bool:
    """Returns whether the log is too large for every request to read it."""
    return feedback.more_than(session, project, SMALL)


def log_of(
    session: Session,
    project: str,
    policy: wire.LabelPolicy,
    watermark: int,
    *,
    keep: bool = False,
    segments: Sequence[str] = (),
) -> Log:
    """Returns the log up to `watermark`, for `whole_log.resolve`. Policies with the same rule for edits can share it.

    keep      stores the new comparisons of edits with their originals. That saves time later, for any policy, and
              changes no label.
    segments  keys of metadata by which completions are told apart: see `Log.completions`
    """
    with _turn(session, project):
        log, new = read.read(ComparedLogSource(session, project, watermark, segments=segments), policy.signals.edit)
    if keep:
        store.keep_compared(session, project, new)
    return log


def standing(session: Session, project: str, completion_ids: Collection[str], watermark: int) -> dict[int, bool]:
    """Returns for each event about these completions, by position, whether it stands: see `read.standing`."""
    return read.standing(ComparedLogSource(session, project, watermark, about=completion_ids))


@contextmanager
def logs(
    session: Session,
    project: str,
    policy: wire.LabelPolicy,
    watermark: int,
    *,
    keep: bool = False,
    near: Path | None = None,
    part: int = PART,
    segments: Sequence[str] = (),
) -> Iterator[Logs]:
    """Yields the result of `log_of` in parts of about `part` events, as a large log does not fit in memory. Nearly all
    of it is on disk until the block ends. A small log is one part, in memory.

    near  a folder on the disk to use, if not that of temporary files
    """
    events = reading.count(session, project, watermark)
    if events <= WHOLE * part:
        yield Whole(log_of(session, project, policy, watermark, keep=keep, segments=segments))
        return

    def keep_compared(new: pl.DataFrame) -> None:
        if keep:
            store.keep_compared(session, project, new)

    source = ComparedLogSource(session, project, watermark, segments=segments)
    with _turn(session, project), parted(source, policy.signals.edit, -(-events // part), keep_compared, near) as log:
        yield log


def forget_edits(session: Session, project: str, positions: Collection[int]) -> int:
    """Deletes the comparisons whose edit or original was erased from these positions. Returns their number."""
    return store.forget_compared(session, project, positions)


def edit_positions(session: Session, project: str, *, after: int, limit: int) -> Sequence[int]:
    """Returns the first positions of edits with a stored comparison after this one."""
    return store.positions(session, project, after, limit)


def _turn(session: Session, project: str) -> AbstractContextManager[None]:
    """Returns the turn to read the log: a large log waits for it, a small one is read at once."""
    return whole_log_turns.turn(session) if is_large(session, project) else nullcontext()


def count(log: Log, labelled: Labelled, *, since: int, checkpoint_id: UUID | None = None) -> wire.ClassCounts:
    """Counts rows by class, and completions without a row, among the completions with feedback after `since`, and of
    this checkpoint if it is given.
    """
    completions = labelled.completions
    chosen = np.zeros(len(completions), dtype=bool)
    chosen[log.events.completion[log.events.position > since]] = True
    if checkpoint_id is not None:
        chosen &= (completions["checkpoint_id"] == str(checkpoint_id)).fill_null(value=False).to_numpy()
    usable = chosen & completions["known"].to_numpy()
    label = completions["label"].filter(pl.Series(usable))
    rewrites = int(np.count_nonzero(usable[labelled.rewrites["completion"].to_numpy()]))
    desirable, labels = int(label.sum() or 0), len(label) - label.null_count()
    return wire.ClassCounts(
        desirable=desirable + rewrites,
        undesirable=labels - desirable,
        nothing=int(np.count_nonzero(chosen)) - labels,
    )
