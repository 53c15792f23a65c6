"""The world of one seed: two base models, the feedback on the replies of the larger one, and held-out tickets.

The feedback has fixed proportions: 28 % desirable and 72 % undesirable labels, 10 % of either class wrong by the hidden
rule, and comparisons of two replies on 8 % of the prompts, of which 10 % name the worse reply. The two replies of a
comparison are also a desirable and an undesirable row. All prompts differ, and no held-out ticket is among them.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from app.durable import folder_atomically, write_atomically
from benchmarks.compare.arms import Feedback
from benchmarks.desk_study.tickets import different_tickets
from benchmarks.desk_study.workdir import Example, RowPair
from worker.demo import sampling
from worker.demo.base_model import STEPS, STORY_SHAPE, Shape, train_base_model
from worker.demo.language import Ticket, good

#: About a seventh of the parameters of the story's base model.
SMALLER_SHAPE = Shape(layers=2, width=64, heads=2, inner_width=176)
FEEDBACK_FILE = "feedback.json"


@dataclass(frozen=True)
class Size:
    rows: int = 1800
    desirable_share: float = 0.28
    wrong_share: float = 0.1  # of the labels of each class, and of the comparisons
    compared_share: float = 0.08  # of the prompts
    drafts: int = 2800  # tickets with one reply
    compared_drafts: int = 450  # tickets with two replies; those with one good and one bad reply can be compared
    tickets: int = 2000  # held out
    base_steps: int = STEPS

    @property
    def feedback(self) -> Feedback:
        desirable = round(self.desirable_share * self.rows)
        pairs = round(self.compared_share * self.rows / (1 + self.compared_share))
        return Feedback(desirable, self.rows - desirable, pairs)


@dataclass(frozen=True)
class World:
    base: Path
    rows: list[Example]
    pairs: list[RowPair]  # (chosen, rejected), as indices of rows


def held_out_tickets(seed: int, size: Size) -> list[Ticket]:
    """Returns `size.tickets` tickets with different prompts."""
    return different_tickets(seed, "tickets", size.tickets, set())


def base_model(folder: Path, seed: int, steps: int, *, smaller: bool) -> Path:
    """Returns `folder` with a base model, which is trained on first use."""
    if not (folder / "config.json").exists():
        with folder_atomically(folder) as unfinished:
            train_base_model(unfinished, seed, steps=steps, shape=SMALLER_SHAPE if smaller else STORY_SHAPE)
    return folder.absolute()


def world(folder: Path, seed: int, size: Size) -> World:
    """Returns the world in `folder`, creating it on first use. Raises ValueError if there are too few replies."""
    base = base_model(folder / "base", seed, size.base_steps, smaller=False)
    path = folder / FEEDBACK_FILE
    if not path.exists():
        write_feedback(folder, *_collected(sampling.load(base), seed, size))
    content = json.loads(path.read_bytes())
    pairs = [(chosen, rejected) for chosen, rejected in content["pairs"]]
    return World(base, [Example(**row) for row in content["rows"]], pairs)


def write_feedback(folder: Path, rows: Sequence[Example], pairs: Sequence[RowPair]) -> None:
    content = {"rows": [asdict(row) for row in rows], "pairs": pairs}
    write_atomically(folder / FEEDBACK_FILE, json.dumps(content).encode())


def _collected(model: sampling.Desk, seed: int, size: Size) -> tuple[list[Example], list[RowPair]]:
    seen = {ticket.prompt for ticket in held_out_tickets(seed, size)}
    tickets = different_tickets(seed, "drafts", size.drafts, seen)
    compared = different_tickets(seed, "comparisons", size.compared_drafts, seen)
    replies = sampling.sample(model, [ticket.prompt for ticket in [*tickets, *compared, *compared]], seed)
    texts = [reply.text for reply in replies]
    judged = [
        Judged(ticket.prompt, text, good(ticket, text))
        for ticket, text in zip(tickets, texts[: len(tickets)], strict=True)
        if text.strip()  # no user sees an empty reply
    ]
    first, second = texts[len(tickets) : -len(compared)], texts[-len(compared) :]
    comparable = list(_comparable(compared, first, second))
    return collected(judged, comparable, size, Random(f"feedback {seed}"))


@dataclass(frozen=True)
class Judged:
    prompt: str
    completion: str
    good: bool


def _comparable(tickets: Sequence[Ticket], *drafts: Sequence[str]) -> Iterator[tuple[Judged, Judged]]:
    """Yields (better, worse) for each ticket with a good and a bad reply."""
    for ticket, *texts in zip(tickets, *drafts, strict=True):
        first, second = (Judged(ticket.prompt, text, good(ticket, text)) for text in texts)
        if first.good != second.good and all(text.strip() for text in texts):
            yield (first, second) if first.good else (second, first)


def collected(
    replies: Sequence[Judged], comparable: Sequence[tuple[Judged, Judged]], size: Size, rng: Random
) -> tuple[list[Example], list[RowPair]]:
    """Returns the rows with their labels, and the pairs among them. Raises ValueError if replies are missing."""
    counts = size.feedback
    if len(comparable) < counts.pairs:
        raise ValueError(f"{counts.pairs} comparisons need more than {len(comparable)} tickets with two replies")
    wrong_pairs = _chosen(counts.pairs, size.wrong_share, rng)
    rows: list[Example] = []
    pairs: list[RowPair] = []
    for index, (better, worse) in enumerate(comparable[: counts.pairs]):
        chosen, rejected = (worse, better) if index in wrong_pairs else (better, worse)
        pairs.append((len(rows), len(rows) + 1))
        rows.append(Example(chosen.prompt, chosen.completion, desirable=True))
        rows.append(Example(rejected.prompt, rejected.completion, desirable=False))
    left = {True: [reply for reply in replies if reply.good], False: [reply for reply in replies if not reply.good]}
    for desirable, count in ((True, counts.desirable - counts.pairs), (False, counts.undesirable - counts.pairs)):
        wrong = _chosen(count, size.wrong_share, rng)
        for index in range(count):
            side = left[desirable != (index in wrong)]
            if not side:
                raise ValueError(f"{count} labels need more replies: increase `drafts`")
            reply = side.pop(0)
            rows.append(Example(reply.prompt, reply.completion, desirable))
    return rows, pairs


def _chosen(count: int, share: float, rng: Random) -> set[int]:
    return set(rng.sample(range(count), round(share * count)))
