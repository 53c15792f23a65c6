"""The support desk of one seed: its base model, its users' votes on that model's replies, and tickets to measure on.

It is created once per seed and cached, so every condition of a seed starts from the same weights, votes and tickets.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from uuid import UUID

from thumbwheel.wire import Event, LabelPolicy

from app.durable import folder_atomically, write_atomically
from app.labels.guards import text
from app.labels.policy import Signal, resolve
from app.labels.verdicts import Context
from app.snapshots.prompts import split
from benchmarks.desk_study.workdir import Example
from worker.demo import sampling
from worker.demo.base_model import STEPS, train_base_model
from worker.demo.language import Ticket, new_ticket
from worker.demo.measure import measured
from worker.demo.story import PROJECT, USERS
from worker.demo.users import some_users
from worker.demo.votes import draft_replies, votes

#: The live model's id in the events. Nothing looks it up here.
CHECKPOINT = UUID(int=0)
START = datetime(2026, 1, 1, tzinfo=UTC)
HOLDOUT_SHARE = 0.1


@dataclass(frozen=True)
class Size:
    drafts: int = 3600
    rows_per_class: int = 900  # the first train rows in the order of the log
    tickets: int = 800  # no user sees these: figures are measured on them
    base_steps: int = STEPS


@dataclass(frozen=True)
class Desk:
    """A base model with its feedback. `train` has as many desirable as undesirable rows; `holdout` other prompts."""

    base: Path
    train: list[Example]
    holdout: list[Example]
    base_figures: dict[str, float]  # good_share, invented_refund_share, median_words


def tickets_of(seed: int, size: Size) -> list[Ticket]:
    rng = Random(f"tickets {seed}")
    return list({ticket.prompt: ticket for ticket in (new_ticket(rng) for _ in range(size.tickets))}.values())


def made(folder: Path, seed: int, size: Size) -> Desk:
    """Returns the desk in `folder`, creating it on first use. Raises ValueError if the votes give too few rows."""
    base = folder / "base"
    if not (folder / "desk.json").exists():
        with folder_atomically(base) as unfinished:
            train_base_model(unfinished, seed, steps=size.base_steps)
        write_atomically(folder / "desk.json", json.dumps(_content(base, seed, size)).encode())
    content = json.loads((folder / "desk.json").read_bytes())
    train, holdout = ([Example(**row) for row in content[side]] for side in ("train", "holdout"))
    return Desk(base.absolute(), train, holdout, content["base_figures"])


def _content(base: Path, seed: int, size: Size) -> dict[str, object]:
    model = sampling.load(base)
    tickets = tickets_of(seed, size)
    figures = measured(model, tickets, seed)
    drafts = draft_replies(model, size.drafts, "draft", seed, {ticket.prompt for ticket in tickets})
    rows = rows_of(votes(drafts, some_users(USERS, Random(seed)), CHECKPOINT, seed))
    train = [example for split, example in rows if split == "train"]
    return {
        "train": [asdict(example) for example in _even(train, size.rows_per_class)],
        "holdout": [asdict(example) for split, example in rows if split == "holdout"],
        "base_figures": {
            "good_share": figures.good_share.value,
            "invented_refund_share": figures.invented_refund_share.value,
            "median_words": figures.median_words,
        },
    }


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


def _even(rows: Sequence[Example], per_class: int) -> list[Example]:
    """Returns the first `per_class` rows of each class, in their order."""
    left = {True: per_class, False: per_class}
    chosen = []
    for row in rows:
        if left[row.desirable]:
            left[row.desirable] -= 1
            chosen.append(row)
    if any(left.values()):
        raise ValueError(f"{left[True]} desirable and {left[False]} undesirable rows are missing: draft more replies")
    return chosen
