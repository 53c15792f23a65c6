"""All files of a request as train and holdout, and the reasons to learn nothing from them."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from app.runs.recipe import PAIRED, PairsFrom, Recipe
from app.snapshots.balance.enough import WIDEST_IMBALANCE, Tally
from app.snapshots.prompts.split import group_of, key_of, split_of
from app.snapshots.selection.pairs import Source, pairs_of
from worker.training.machine.process import Refusal
from worker.training.standalone.examples import COLUMNS, Dropped, Example, Pair, example_of
from worker.training.standalone.labels import Labels
from worker.training.standalone.reading import read
from worker.training.standalone.request import Request

#: In place of a project's name in the split: a prompt is on the same side in every call, whatever the file.
PROJECT = "thumbwheel train"
#: The least that a micro-batch of `auto` may turn out to be.
SMALLEST_MEASURED = 4


#: A prompt and two answers to it, as JSON, in alphabetical order.
Two = tuple[str, str, str]


class CountedPair(NamedTuple):
    """`chosen`, `rejected`: indices of a side's examples."""

    chosen: int
    rejected: int
    source: Source
    votes: tuple[int, int, int]


@dataclass
class Side:
    """Train or holdout, in the order of the files."""

    examples: list[Example] = field(default_factory=list)
    given_pairs: list[CountedPair] = field(default_factory=list)
    compared: set[Two] = field(default_factory=set)  # in whatever file, ties too

    def add(self, one: Example | Pair) -> None:
        if isinstance(one, Example):
            self.examples.append(one)
            return
        at = len(self.examples)
        self.examples += one.examples
        self.given_pairs.append(CountedPair(at, at + 1, "compared", one.votes))

    def pairs(self, pairs: PairsFrom) -> list[CountedPair]:
        """The pairs that were given; where `pairs` is derived, also those that the other rows make, prompt by prompt,
        of answers that were not compared."""
        if pairs != "derived":
            return self.given_pairs
        paired = {index for pair in self.given_pairs for index in (pair.chosen, pair.rejected)}
        single = [index for index in range(len(self.examples)) if index not in paired]
        made = pairs_of((json.dumps(self.examples[i].prompt), self.examples[i].desirable) for i in single)
        derived = (CountedPair(single[chosen], single[rejected], "derived", (0, 0, 0)) for chosen, rejected in made)
        not_compared = (
            pair
            for pair in derived
            if _two(self.examples[pair.chosen], self.examples[pair.rejected])[0] not in self.compared
        )
        return [*self.given_pairs, *not_compared]

    @property
    def tally(self) -> Tally:
        tally = Tally()
        for example in self.examples:
            tally.add(example.desirable, example.weight)
        return tally


@dataclass
class Dataset:
    files: str  # those that are trained on, for messages
    train: Side = field(default_factory=Side)
    holdout: Side = field(default_factory=Side)
    dropped: Counter[str] = field(default_factory=Counter)
    #: Rows that would not be trained as they were judged, with their split.
    faulty: list[tuple[str, Dropped]] = field(default_factory=list)
    #: Columns that mean nothing here.
    ignored: set[str] = field(default_factory=set)


def read_dataset(request: Request, recipe: Recipe) -> Dataset:
    """Raises `Refusal` naming file, line, field, value and remedy."""
    found = Dataset(", ".join(map(str, request.data)))
    held_out: set[str] = set()
    for one in _counted(_examples(request.eval_data, recipe, found, "holdout"), found):
        held_out.add(_group(one))
        found.holdout.add(one)
    for one in _counted(_examples(request.data, recipe, found, "train"), found):
        group = _group(one)
        if group in held_out:
            found.dropped["the prompt is in the eval data"] += 2 if isinstance(one, Pair) else 1
            continue
        side = split_of(PROJECT, key_of(group), request.holdout_share)
        (found.holdout if side == "holdout" else found.train).add(one)
    return found


def _two(one: Example, other: Example) -> tuple[Two, bool]:
    """What stands for two answers, in whatever order; and whether they were turned round for it."""
    prompt, first, second = (json.dumps(text) for text in (one.prompt, one.completion, other.completion))
    return ((prompt, second, first), True) if second < first else ((prompt, first, second), False)


def _counted(rows: Iterable[Example | Pair], found: Dataset) -> Iterator[Example | Pair]:
    """The same rows, where each two answers to one prompt that were compared are one pair, in the direction of the
    majority; two with as many votes each way are counted, and no pair."""
    several: dict[Two, Pair] = {}
    order: list[Example | Two] = []
    for one in rows:
        if isinstance(one, Example):
            order.append(one)
            continue
        key, turned = _two(one.chosen, one.rejected)
        same = one.turned if turned else one
        before = several.get(key)
        if before is None:
            order.append(key)
            several[key] = same
        else:
            several[key] = before.with_votes_of(same)
    found.train.compared |= several.keys()
    found.holdout.compared |= several.keys()
    for entry in order:
        if isinstance(entry, Example):
            yield entry
            continue
        pair = several[entry]
        if pair.votes[0] == pair.votes[1]:
            found.dropped["as many votes each way"] += 2
        else:
            yield pair if pair.votes[0] > pair.votes[1] else pair.turned


def _examples(files: Sequence[Path], recipe: Recipe, found: Dataset, split: str) -> Iterable[Example | Pair]:
    """What the files say, without what nothing can be learnt from, which is counted."""
    for path in files:
        labels = Labels()
        for record in read(path):
            found.ignored.update(map(str, record.fields.keys() - set(COLUMNS)))
            one = example_of(record, labels, label_needed=recipe.objective != "sft")
            if isinstance(one, Dropped):
                # A pair without one of its answers says nothing to an objective that compares them.
                found.dropped[one.fault.reason] += 1 if "completion" in record.fields else 2
                found.faulty.append((split, one))
                continue
            if isinstance(one, Example):
                kept: list[Example | Pair] = [] if one.empty else [one]
                found.dropped["empty completion"] += one.empty
            elif one.chosen.completion == one.rejected.completion:
                kept = []
                found.dropped["chosen and rejected are equal"] += 2
            else:
                empty = sum(example.empty for example in one.examples)
                found.dropped["empty completion"] += empty
                kept = [one] if not empty else []
                if empty == 1 and recipe.objective in PAIRED:
                    found.dropped["the other of its pair is empty"] += 1
                elif empty == 1:
                    kept = [example for example in one.examples if not example.empty]
            yield from kept


def _group(one: Example | Pair) -> str:
    return group_of((one if isinstance(one, Example) else one.chosen).prompt)


def require_enough(data: Dataset, recipe: Recipe, *, allow_imbalance: bool) -> None:
    """Raises `Refusal` where `recipe.objective` should learn nothing from the train rows."""
    objective, tally = recipe.objective, data.train.tally
    rows = len(data.train.examples)
    if rows == 0:
        dropped = ", ".join(f"{count} {reason}" for reason, count in data.dropped.items() if count)
        if data.faulty:
            raise _mostly_dropped(data, "every row is dropped" if not data.holdout.examples else "no row is left")
        raise _refusal(data, f"no row to train on{f' (dropped: {dropped})' if dropped else ''}: add rows")
    if recipe.objective != "sft" and len(data.faulty) > rows and (tally.desirable == 0 or tally.undesirable == 0):
        raise _mostly_dropped(data, f"{len(data.faulty)} rows are dropped, the {rows} others are of one class")
    usable = rows
    if objective in PAIRED:
        usable = 2 * len(data.train.pairs(recipe.pairs))
        if usable == 0 and recipe.pairs != "derived":
            raise Refusal(
                "no_pairs",
                f"objective: {objective} takes pairs, {data.files} compares no answers: give chosen and rejected, set "
                "pairs to derived, which makes pairs of desirable and undesirable rows, or use kto",
            )
        if usable == 0:
            raise Refusal(
                "no_pairs",
                f"objective: {objective} takes pairs, no prompt of {data.files} has both a desirable and an "
                "undesirable completion: use kto or apo_zero_unpaired, or give chosen and rejected",
            )
    elif objective == "sft":
        usable = tally.desirable
        if usable == 0:
            raise _refusal(data, f"all {rows} rows are undesirable, sft imitates desirable ones: add some, or use kto")
    elif objective != "mo_kto":  # which has labels of its own
        _require_both_classes(data, tally, objective)
        if not allow_imbalance:
            _require_balance(data, tally)
    micro_batch = SMALLEST_MEASURED if recipe.micro_batch_size == "auto" else recipe.micro_batch_size
    if usable < 2 * micro_batch:
        raise _refusal(
            data,
            f"{usable} rows to train on, two micro-batches take {2 * micro_batch}: set micro_batch_size "
            f"(it is {recipe.micro_batch_size}) to {max(2, usable // 2 // 2 * 2)} or less, or add rows",
        )


def _mostly_dropped(data: Dataset, fact: str) -> Refusal:
    """Names the most frequent reason first, with the row where it shows first."""
    (reason, count), *_ = Counter(row.fault.reason for _, row in data.faulty).most_common(1)
    first = next(row for _, row in data.faulty if row.fault.reason == reason)
    return Refusal("data", f"{first.name}: {first.fault.sentence} ({fact}, {count} for this reason)")


def _require_both_classes(data: Dataset, tally: Tally, objective: str) -> None:
    if tally.desirable == 0 or tally.undesirable == 0:
        only, missing = ("desirable", "undesirable") if tally.desirable else ("undesirable", "desirable")
        other = ", or use sft" if only == "desirable" else ""
        raise _refusal(
            data,
            f"all {len(data.train.examples)} rows to train on are {only}, {objective} needs both classes: "
            f"add {missing} rows{other}",
        )


def _require_balance(data: Dataset, tally: Tally) -> None:
    up, down = tally.weight_desirable, tally.weight_undesirable
    if not (up <= WIDEST_IMBALANCE * down and down <= WIDEST_IMBALANCE * up):
        rare = "desirable" if up < down else "undesirable"
        raise _refusal(
            data,
            f"desirable to undesirable is {up:g} : {down:g} by weight, outside 1:{WIDEST_IMBALANCE} … "
            f"{WIDEST_IMBALANCE}:1: add {rare} rows, or --allow-imbalance",
        )


def _refusal(data: Dataset, message: str) -> Refusal:
    return Refusal("data", f"{data.files}: {message}")
