"""The labels of a project, as a label policy reads its log."""

from collections.abc import Collection, Iterator
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

from app import whole_logs
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
#: Events of a large log that are in memory at a time. A log of up to WHOLE such parts is read at once: parts take a
#: third longer.
PART, WHOLE = 250_000, 4
#: Events of a log that any request may read.
SMALL = 5_000


@dataclass(frozen=True)
class Source(reading.LogSource):
    """The log with what is kept of its edits, for `whole_log.read`."""

    def compared(self) -> Iterator[pa.RecordBatch]:
        """Returns what is kept of edits, as `read.COMPARED`."""
        return store.compared(self.session, self.project, self.watermark)


def context(session: Session, project: str, policy: wire.LabelPolicy, watermark: int) -> Context:
    """What a resolution of the log up to `watermark` needs beside the signals."""
    end = as_of(session, project, watermark)
    thresholds = policy.signals.rating.thresholds
    if thresholds.kind == "fixed":
        return Context(end)
    since = end - timedelta(days=thresholds.days)
    return Context(end, reading.rating_median(session, project, watermark, since, thresholds.minimum))


def as_of(session: Session, project: str, watermark: int) -> datetime:
    """Returns when the newest event up to `watermark` was received; of an empty log the beginning of 1970."""
    return reading.end(session, project, watermark) or datetime(1970, 1, 1, tzinfo=UTC)


def is_large(session: Session, project: str) -> bool:
    """Returns whether the log is too large to be read by any request."""
    return feedback.more_than(session, project, SMALL)


def log_of(session: Session, project: str, policy: wire.LabelPolicy, watermark: int, *, keep: bool = False) -> Log:
    """All that was said up to `watermark`, for `sets.resolve`; the same for policies that read edits alike.

    keep  how edits compare with their originals, where that was found out anew: it saves time later, whatever the
          policy, and changes no label
    """
    with _turn(session, project):
        log, new = read.read(Source(session, project, watermark), policy.signals.edit)
    if keep:
        store.keep_compared(session, project, new)
    return log


def standing(session: Session, project: str, completion_ids: Collection[str], watermark: int) -> dict[int, bool]:
    """Returns for each event about these completions, by position, whether it stands: see `reading.standing`."""
    return read.standing(Source(session, project, watermark, about=completion_ids))


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
) -> Iterator[Logs]:
    """What `log_of` gives, in parts of about `part` events, as memory has no room for a large log: nearly all of it is
    on disk, as long as the block lasts. A small one is one part, and on no disk.

    near  a folder on the disk to use, if not that of temporary files
    """
    events = reading.count(session, project, watermark)
    if events <= WHOLE * part:
        yield Whole(log_of(session, project, policy, watermark, keep=keep))
        return

    def keep_compared(found: pl.DataFrame) -> None:
        if keep:
            store.keep_compared(session, project, found)

    source = Source(session, project, watermark)
    with _turn(session, project), parted(source, policy.signals.edit, -(-events // part), keep_compared, near) as found:
        yield found


def forget_edits(session: Session, project: str, positions: Collection[int]) -> int:
    """Forgets how edits compare with their originals, where one of the two was erased from these positions.

    Returns the number of comparisons."""
    return store.forget_compared(session, project, positions)


def _turn(session: Session, project: str) -> AbstractContextManager[None]:
    """A small log is read at once."""
    return whole_logs.turn(session) if is_large(session, project) else nullcontext()


def count(log: Log, labelled: Labelled, *, since: int, checkpoint_id: UUID | None = None) -> wire.ClassCounts:
    """Rows by class, and completions that give none; of completions of which something was said after `since`, and of
    this checkpoint."""
    completions = labelled.completions
    asked = np.zeros(len(completions), dtype=bool)
    asked[log.events.completion[log.events.position > since]] = True
    if checkpoint_id is not None:
        asked &= (completions["checkpoint_id"] == str(checkpoint_id)).fill_null(value=False).to_numpy()
    usable = asked & completions["known"].to_numpy()
    label = completions["label"].filter(pl.Series(usable))
    rewrites = int(np.count_nonzero(usable[labelled.rewrites["completion"].to_numpy()]))
    desirable, labels = int(label.sum() or 0), len(label) - label.null_count()
    return wire.ClassCounts(
        desirable=desirable + rewrites,
        undesirable=labels - desirable,
        nothing=int(np.count_nonzero(asked)) - labels,
    )
