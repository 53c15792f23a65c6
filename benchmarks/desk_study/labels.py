"""Labels simulated votes by the project's own rules, as a snapshot does."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from thumbwheel.wire import Event, LabelPolicy

from app.labels.guards import text
from app.labels.policy import Signal, resolve
from app.labels.verdicts import Context
from app.snapshots.prompts import split
from benchmarks.desk_study.workdir import Example
from worker.demo.story import PROJECT

#: The live model's id in the events. Nothing looks it up here.
CHECKPOINT = UUID(int=0)
START = datetime(2026, 1, 1, tzinfo=UTC)
HOLDOUT_SHARE = 0.1

#: The study is about the objective, not about the voters: every edit gives a row, and no weight is capped.
POLICY = LabelPolicy.model_validate(
    {
        "name": "study",
        "signals": {"edit": {"rewrite_below": 1}},
        "guards": {"influence": {"actor": None, "prompt": None}},
    }
)


@dataclass(frozen=True)
class LabelledRow:
    """A completion with its label, or a user's rewrite of one."""

    prompt: str
    completion: str
    label: bool
    weight: float
    position: int


def rows_of(events: Sequence[Event]) -> list[tuple[str, Example]]:
    """Returns the rows that a snapshot of these events holds under `POLICY`, each with its side of the split."""
    same: dict[bytes, list[LabelledRow]] = defaultdict(list)
    for row in _labelled(events):
        same[text.key_of(row.prompt, row.completion)].append(row)
    chosen = (_heavier(rows) for rows in same.values())
    return [
        (
            split.split_of(PROJECT, split.key_of(split.group_of(row.prompt)), HOLDOUT_SHARE),
            Example(row.prompt, row.completion, row.label),
        )
        for row in sorted((row for row in chosen if row is not None), key=lambda row: row.position)
    ]


def _heavier(rows: Sequence[LabelledRow]) -> LabelledRow | None:
    """Returns the first row of the heavier side among rows of the same text; None if both sides weigh the same."""
    balance = sum(round(1000 * row.weight) * (1 if row.label else -1) for row in rows)
    return next((row for row in rows if balance and row.label == (balance > 0)), None)


def _labelled(events: Sequence[Event]) -> Iterator[LabelledRow]:
    """Yields the rows of each completion. An event's position in the log is its number here, from 1."""
    by_completion: dict[str, list[tuple[int, Event]]] = defaultdict(list)
    for position, event in enumerate(events, start=1):
        by_completion[event.completion_id].append((position, event))
    for numbered in by_completion.values():
        position, first = numbered[0]
        signals = [
            Signal(number, START + timedelta(seconds=number), event.actor, event.signal.model_dump())
            for number, event in numbered
        ]
        resolution = resolve(POLICY, first.completion, signals, Context(as_of=START + timedelta(days=365)))
        prompt = str(first.prompt)
        if first.completion is not None and resolution.label is not None:
            yield LabelledRow(
                prompt, first.completion, label=resolution.label, weight=resolution.weight, position=position
            )
        for rewrite in resolution.rewrites:
            yield LabelledRow(prompt, rewrite.text, label=True, weight=rewrite.weight, position=rewrite.position)
