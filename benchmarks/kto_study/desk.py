"""The support desk of one seed: its base model, its users' votes on that model's replies, and tickets to measure on.

It is created once per seed and cached, so every condition of a seed starts from the same weights, votes and tickets.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from app.durable import folder_atomically, write_atomically
from benchmarks.desk_study.labels import CHECKPOINT, rows_of
from benchmarks.desk_study.workdir import Example
from worker.demo import sampling
from worker.demo.base_model import STEPS, train_base_model
from worker.demo.language import Ticket, new_ticket
from worker.demo.measure import measured
from worker.demo.story import USERS
from worker.demo.users import some_users
from worker.demo.votes import draft_replies, votes


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
