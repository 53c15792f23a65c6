"""The labels of a project, as a label policy reads its log."""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
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
from app.labels import reading, sets, store
from app.labels.intervals import wilson
from app.labels.parts import Logs, Whole, parted
from app.labels.policies import service as policies
from app.labels.policy import Context, Resolution, Signal, without

Prompt = str | list[dict[str, Any]]
EVERYTHING = 2**63 - 1
#: Events of a large log that are in memory at a time. A log of up to WHOLE such parts is read at once: parts take a
#: third longer.
PART, WHOLE = 250_000, 4
#: Events of a log that any request may read.
SMALL = 5_000


@dataclass(frozen=True, slots=True)
class Resolved:
    """One completion that something was said of. Text and prompt are None until an event has carried them."""

    completion_id: str
    prompt: Prompt | None
    completion: str | None
    checkpoint_id: UUID | None
    position: int  # of the registered text or the event that first carried it, else of the first event
    resolution: Resolution


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """One row that can be learnt from: a completion with a label, or what somebody wrote in place of one."""

    completion_id: str
    prompt: Prompt
    completion: str
    label: bool
    weight: float
    reason: str
    checkpoint_id: UUID | None
    position: int
    actors: tuple[str, ...]  # whose verdict, or text, it is


def context(session: Session, project: str, policy: wire.LabelPolicy, watermark: int) -> Context:
    """What a resolution of the log up to `watermark` needs beside the signals."""
    as_of = store.as_of(session, project, watermark) or datetime(1970, 1, 1, tzinfo=UTC)
    thresholds = policy.signals.rating.thresholds
    if thresholds.kind == "fixed":
        return Context(as_of)
    since = as_of - timedelta(days=thresholds.days)
    return Context(as_of, store.rating_median(session, project, watermark, since, thresholds.minimum))


def log_of(session: Session, project: str, policy: wire.LabelPolicy, watermark: int, *, keep: bool = False) -> sets.Log:
    """All that was said up to `watermark`, for `sets.resolve`; the same for policies that read edits alike.

    keep  how edits compare with their originals, where that was found out anew: it saves time later, whatever the
          policy, and changes no label
    """
    with _turn(session, project):
        log, new = reading.read(store.Source(session, project, watermark), policy.signals.edit)
    if keep:
        store.keep_compared(session, project, new)
    return log


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
    events = store.many(session, project, watermark)
    if events <= WHOLE * part:
        yield Whole(log_of(session, project, policy, watermark, keep=keep))
        return

    def keep_compared(found: pl.DataFrame) -> None:
        if keep:
            store.keep_compared(session, project, found)

    source = store.Source(session, project, watermark)
    with _turn(session, project), parted(source, policy.signals.edit, -(-events // part), keep_compared, near) as found:
        yield found


def forget_edits(session: Session, project: str, positions: Collection[int]) -> None:
    """Forget how edits compare with their originals, where one of the two was erased from these positions."""
    store.forget_compared(session, project, positions)


def resolve_all(
    session: Session,
    project: str,
    policy: wire.LabelPolicy,
    *,
    watermark: int,
    left_out: Collection[str] = (),
) -> sets.Labelled:
    """What `policy` makes of the whole log up to `watermark`, in frames: what `resolved` gives, without the texts.

    left_out  actors whose signals do not count
    """
    log = log_of(session, project, policy, watermark)
    return sets.resolve(policy, log, context(session, project, policy, watermark), sorted(left_out))


def resolved(
    session: Session,
    project: str,
    policy: wire.LabelPolicy,
    *,
    watermark: int,
    since: int = 0,
    checkpoint_id: UUID | None = None,
    left_out: Collection[str] = (),
) -> Iterator[Resolved]:
    """Every completion that something was said of up to `watermark`, by id; streamed.

    since          only completions of which something was said after this position; all that was said counts
    checkpoint_id  only completions of this checkpoint
    left_out       actors whose signals do not count
    """
    beside = context(session, project, policy, watermark)
    with _turn(session, project):
        events = store.said(session, project, watermark=watermark, since=since, checkpoint_id=checkpoint_id)
        for completion_id, group in groupby(events, key=lambda event: event.completion_id):
            one = _resolved(policy, beside, completion_id, list(group), left_out)
            if checkpoint_id is None or one.checkpoint_id == checkpoint_id:
                yield one


def _turn(session: Session, project: str) -> AbstractContextManager[None]:
    """A small log is read at once."""
    return whole_logs.turn(session) if feedback.more_than(session, project, SMALL) else nullcontext()


def labelled(
    session: Session,
    project: str,
    policy: wire.LabelPolicy,
    *,
    watermark: int,
    since: int = 0,
    checkpoint_id: UUID | None = None,
    left_out: Collection[str] = (),
) -> Iterator[LabelledRow]:
    """The rows that the log up to `watermark` gives, by completion id; streamed. For the filters see `resolved`."""
    for one in resolved(
        session, project, policy, watermark=watermark, since=since, checkpoint_id=checkpoint_id, left_out=left_out
    ):
        yield from rows_of(one)


def rows_of(one: Resolved) -> Iterator[LabelledRow]:
    """The completion itself, where it has a label and a text, and each text written in place of it."""
    if one.prompt is None or one.completion is None:
        return
    resolution = one.resolution
    if resolution.label is not None:
        yield LabelledRow(
            completion_id=one.completion_id,
            prompt=one.prompt,
            completion=one.completion,
            label=resolution.label,
            weight=resolution.weight,
            reason=resolution.reasons[0],
            checkpoint_id=one.checkpoint_id,
            position=one.position,
            actors=resolution.actors,
        )
    for rewrite in resolution.rewrites:
        yield LabelledRow(
            completion_id=f"{one.completion_id}#edit:{hashlib.sha256(rewrite.text.encode()).hexdigest()[:16]}",
            prompt=one.prompt,
            completion=rewrite.text,
            label=True,
            weight=rewrite.weight,
            reason=rewrite.reason,
            checkpoint_id=one.checkpoint_id,
            position=rewrite.position,
            actors=rewrite.actors,
        )


def count(log: sets.Log, labelled: sets.Labelled, *, since: int, checkpoint_id: UUID | None = None) -> wire.ClassCounts:
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


@dataclass(frozen=True)
class LogTexts:
    """What models wrote, users asked and people made of it, up to a watermark."""

    session: Session
    project: str
    watermark: int

    def carried(self) -> Iterator[pa.RecordBatch]:
        """Of all completions but those that were not preferred: position, carrier (number in `reading.CARRIERS`),
        prompt (JSON text), completion; in no order."""
        return store.carried(self.session, self.project, self.watermark)

    def rejected(self, positions: Sequence[int]) -> dict[int, tuple[str, str]]:
        """Prompt (JSON text) and text of what was not preferred there."""
        texts = store.Source(self.session, self.project, self.watermark).texts("rejected", positions)
        prompts = store.prompts_at(self.session, self.project, positions)
        return {position: (prompts[position], text) for position, text in texts.items()}

    def edited(self, positions: Sequence[int]) -> dict[int, str]:
        """What the edits there made of completions."""
        return store.Source(self.session, self.project, self.watermark).edited(positions)

    def prompts_after(self, since: int, limit: int) -> pa.Table:
        """The first prompts that came after `since`, in the order of the log: position, prompt (JSON text)."""
        return store.prompts_after(self.session, self.project, since, limit, self.watermark)


def approval(session: Session, project: str) -> list[wire.Approval]:
    """For each checkpoint, how many of its labelled completions are desirable. What users wrote doesn't count."""
    tallies: dict[UUID, list[int]] = {}
    policy = policies.adopted(session, project).policy
    for one in resolved(session, project, policy, watermark=EVERYTHING):
        if one.checkpoint_id is not None:
            tally = tallies.setdefault(one.checkpoint_id, [0, 0])
            if one.resolution.label is not None:
                tally[one.resolution.label] += 1
    return [_approval(checkpoint_id, *tallies[checkpoint_id]) for checkpoint_id in sorted(tallies)]


def _approval(checkpoint_id: UUID, undesirable: int, desirable: int) -> wire.Approval:
    interval = wilson(desirable, desirable + undesirable)
    return wire.Approval(
        checkpoint_id=checkpoint_id,
        desirable=desirable,
        undesirable=undesirable,
        approval=desirable / (desirable + undesirable) if interval else None,
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
    )


def signals_of(events: Sequence[store.Said]) -> list[Signal]:
    return [
        Signal(event.position, event.occurred_at, event.actor, event.signal, event.stands)
        for event in events
        if event.signal is not None
    ]


def _resolved(
    policy: wire.LabelPolicy, beside: Context, completion_id: str, events: list[store.Said], left_out: Collection[str]
) -> Resolved:
    """`events` as the store gives them: a registered text first, then in the order of the log."""
    carrier = next((event for event in events if event.completion is not None), None)
    checkpoint_id = next((event.checkpoint_id for event in events if event.checkpoint_id is not None), None)
    return Resolved(
        completion_id=completion_id,
        prompt=carrier.prompt if carrier else None,
        completion=carrier.completion if carrier else None,
        checkpoint_id=checkpoint_id,
        position=(carrier or events[0]).position,
        resolution=without(policy, carrier.completion if carrier else None, signals_of(events), beside, left_out),
    )
