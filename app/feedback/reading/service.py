"""Reads the log for labels and snapshots; no other code knows how events and registered completions are stored.

LogSource  the log up to a watermark in columns, and the texts at positions
LogTexts   the texts: prompts, completions, edits
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
from sqlalchemy.orm import Session

from app.feedback.reading import store
from app.feedback.reading.carriers import Carrier

LogSource = store.LogSource


def end(session: Session, project: str, watermark: int) -> datetime | None:
    """Returns the time at which the newest event up to `watermark` was received; None for an empty log."""
    return store.end(session, project, watermark)


def count(session: Session, project: str, watermark: int) -> int:
    """Returns the number of events up to `watermark`."""
    return store.count(session, project, watermark)


def rating_median(session: Session, project: str, watermark: int, since: datetime, minimum: int) -> float | None:
    """Returns the median place of the ratings on their scales since then; None for fewer than `minimum`."""
    return store.rating_median(session, project, watermark, since, minimum)


@dataclass(frozen=True)
class LogTexts:
    """The texts of the log up to a watermark: prompts, completions, edits.

    log_probs  whether `carried` also reads the log-probs of registered completions
    """

    session: Session
    project: str
    watermark: int
    log_probs: bool = False

    def carried(self) -> Iterator[pa.RecordBatch]:
        """Yields the texts of all completions except rejected ones, in no order: position, carrier (number
        in `carriers.CARRIERS`), prompt (JSON text), completion, message, and of registered completions
        writer_log_prob if log-probs are read: see `store.carried`.
        """
        return store.carried(self.session, self.project, self.watermark, log_probs=self.log_probs)

    def edited(self, positions: Sequence[int]) -> dict[int, str]:
        """Returns the texts that the edits at these positions made of completions."""
        return store.LogSource(self.session, self.project, self.watermark).edited(positions)

    def rejected(self, positions: Sequence[int]) -> dict[int, tuple[str, str]]:
        """Returns prompt (JSON text) and text of the completions that were rejected at these positions."""
        return self.looks("rejected", positions)

    def looks(self, carrier: Carrier, positions: Sequence[int]) -> dict[int, tuple[str, str]]:
        """Returns prompt (JSON text) and text of the completions that are carried at these positions."""
        texts = store.LogSource(self.session, self.project, self.watermark).texts(carrier, positions)
        prompts = store.prompts_at(self.session, self.project, carrier, positions)
        return {position: (prompts[position], text) for position, text in texts.items()}

    def prompts_after(self, since: int, limit: int) -> pa.Table:
        """Returns the first `limit` prompts after position `since`, in the order of the log: position, prompt (JSON
        text), conversation_id, completion_id; see `store.prompts_after`.
        """
        return store.prompts_after(self.session, self.project, since, limit, self.watermark)
