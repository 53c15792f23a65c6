"""Reads all files of a request as train and holdout, and refuses data that should not be trained on."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from thumbwheel.wire.recipe import PAIRED, PairsFrom, Recipe

from app.snapshots.balance.enough import WIDEST_IMBALANCE, ClassTally
from app.snapshots.prompts.split import group_of, key_of, split_of
from app.snapshots.selection.pairs import Source, pairs_of
from worker.training.machine.process import TrainingRefusal
from worker.training.standalone.edits import EDIT_COLUMNS, with_edit
from worker.training.standalone.examples import COLUMNS, Dropped, Example, Pair, example_of
from worker.training.standalone.labels import Labels
from worker.training.standalone.reading import read
from worker.training.standalone.request import TrainingRequest

#: Replaces a project's name in the split: a prompt is on the same side in every call, in any file.
PROJECT = "thumbwheel train"
#: The smallest size that a micro-batch of `auto` can have.
SMALLEST_MEASURED = 4


#: A prompt and two answers to it, as JSON, in alphabetical order.
Two = tuple[str, str, str]


class CountedPair(NamedTuple):
    """A pair of a side's examples: the indices of the chosen and the rejected one, its source and its votes."""

    chosen: int
    rejected: int
    source: Source
    votes: tuple[int, int, int]


@dataclass
class DatasetSide:
    """Train or holdout, in the order of the files."""

    examples: list[Example] = field(default_factory=list)
    given_pairs: list[CountedPair] = field(default_factory=list)
    compared: set[Two] = field(default_factory=set)  # in any file, including ties

    def add(self, row: Example | Pair) -> None:
        if isinstance(row, Example):
            self.examples.append(row)
            return
        first = len(self.examples)
        self.examples += row.examples
        self.given_pairs.append(CountedPair(first, first + 1, "compared", row.votes))

    def pairs(self, pairs: PairsFrom) -> list[CountedPair]:
        """Returns the given pairs; if `pairs` is derived, also pairs of the other rows of a prompt.

        Answers that were compared are not paired again.
        """
        if pairs != "derived":
            return self.given_pairs
        paired = {index for pair in self.given_pairs for index in (pair.chosen, pair.rejected)}
        single = [index for index in range(len(self.examples)) if index not in paired]
        indices = pairs_of((json.dumps(self.examples[i].prompt), self.examples[i].desirable) for i in single)
        derived = (CountedPair(single[chosen], single[rejected], "derived", (0, 0, 0)) for chosen, rejected in indices)
        not_compared = (
            pair
            for pair in derived
            if _two(self.examples[pair.chosen], self.examples[pair.rejected])[0] not in self.compared
        )
        return [*self.given_pairs, *not_compared]

    @property
    def tally(self) -> ClassTally:
        tally = ClassTally()
        for example in self.examples:
            tally.add(example.desirable, example.weight)
        return tally


@dataclass
class Dataset:
    files: str  # the names of the train files, for messages
    train: DatasetSide = field(default_factory=DatasetSide)
    holdout: DatasetSide = field(default_factory=DatasetSide)
    dropped: Counter[str] = field(default_factory=Counter)
    #: Rows that would not be trained as they were judged, with their split.
    faulty: list[tuple[str, Dropped]] = field(default_factory=list)
    #: Columns without a meaning here.
    ignored: set[str] = field(default_factory=set)


def read_dataset(request: TrainingRequest, recipe: Recipe) -> Dataset:
    """Returns train and holdout of `request`'s files.

    Raises `TrainingRefusal` naming file, line, field, value and remedy.
    """
    data = Dataset(", ".join(map(str, request.data)))
    held_out: set[str] = set()
    for row in _counted(_examples(request.eval_data, recipe, data, "holdout"), data):
        held_out.add(_group(row))
        data.holdout.add(row)
    for row in _counted(_examples(request.data, recipe, data, "train"), data):
        group = _group(row)
        if group in held_out:
            data.dropped["the prompt is in the eval data"] += 2 if isinstance(row, Pair) else 1
            continue
        side = split_of(PROJECT, key_of(group), request.holdout_share)
        (data.holdout if side == "holdout" else data.train).add(row)
    return data


def _two(example: Example, other: Example) -> tuple[Two, bool]:
    """Returns the key of two answers, equal for both orders, and whether the answers were swapped for it."""
    prompt, first, second = (json.dumps(text) for text in (example.prompt, example.completion, other.completion))
    return ((prompt, second, first), True) if second < first else ((prompt, first, second), False)


def _counted(rows: Iterable[Example | Pair], data: Dataset) -> Iterator[Example | Pair]:
    """Yields the rows, with all comparisons of the same two answers merged into one pair.

    The majority decides the direction of the pair. A tie yields no pair and is counted as dropped.
    """
    several: dict[Two, Pair] = {}
    order: list[Example | Two] = []
    for row in rows:
        if isinstance(row, Example):
            order.append(row)
            continue
        key, turned = _two(row.chosen, row.rejected)
        same = row.turned if turned else row
        before = several.get(key)
        if before is None:
            order.append(key)
            several[key] = same
        else:
            several[key] = before.with_votes_of(same)
    data.train.compared |= several.keys()
    data.holdout.compared |= several.keys()
    for entry in order:
        if isinstance(entry, Example):
            yield entry
            continue
        pair = several[entry]
        if pair.votes[0] == pair.votes[1]:
            data.dropped["as many votes each way"] += 2
        else:
            yield pair if pair.votes[0] > pair.votes[1] else pair.turned


def _examples(files: Sequence[Path], recipe: Recipe, data: Dataset, split: str) -> Iterable[Example | Pair]:
    """Yields the usable rows of the files; the others are counted in `data`."""
    for path in files:
        labels = Labels()
        for record in read(path):
            known = {*COLUMNS, *(EDIT_COLUMNS if recipe.edit_kept_weight < 1 else ())}
            data.ignored.update(map(str, record.fields.keys() - known))
            row = example_of(record, labels, label_needed=recipe.objective != "sft")
            if isinstance(row, Example) and recipe.edit_kept_weight < 1 and not row.empty:
                row = with_edit(row, record)
            if isinstance(row, Dropped):
                # A pair without one of its answers is useless to an objective that compares them.
                data.dropped[row.fault.reason] += 1 if "completion" in record.fields else 2
                data.faulty.append((split, row))
                continue
            if isinstance(row, Example):
                usable: list[Example | Pair] = [] if row.empty else [row]
                data.dropped["empty completion"] += row.empty
            elif row.chosen.completion == row.rejected.completion:
                usable = []
                data.dropped["chosen and rejected are equal"] += 2
            else:
                empty = sum(example.empty for example in row.examples)
                data.dropped["empty completion"] += empty
                usable = [row] if not empty else []
                if empty == 1 and recipe.objective in PAIRED:
                    data.dropped["the other of its pair is empty"] += 1
                elif empty == 1:
                    usable = [example for example in row.examples if not example.empty]
            yield from usable


def _group(row: Example | Pair) -> str:
    return group_of((row if isinstance(row, Example) else row.chosen).prompt)


def require_enough(data: Dataset, recipe: Recipe, *, allow_imbalance: bool) -> None:
    """Raises `TrainingRefusal` if the train rows are too few or too uneven for `recipe.objective`."""
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
            raise TrainingRefusal(
                "no_pairs",
                f"objective: {objective} needs pairs, {data.files} compares no answers: give chosen and rejected, set "
                "pairs to derived, which makes pairs of desirable and undesirable rows, or use kto",
            )
        if usable == 0:
            raise TrainingRefusal(
                "no_pairs",
                f"objective: {objective} needs pairs, no prompt of {data.files} has both a desirable and an "
                "undesirable completion: use kto or apo_zero_unpaired, or give chosen and rejected",
            )
    elif objective == "sft":
        usable = tally.desirable
        if usable == 0:
            raise _refusal(data, f"all {rows} rows are undesirable, sft imitates desirable ones: add some, or use kto")
    elif objective != "mo_kto":  # it has labels of its own
        _require_both_classes(data, tally, objective)
        if not allow_imbalance:
            _require_balance(data, tally)
    micro_batch = SMALLEST_MEASURED if recipe.micro_batch_size == "auto" else recipe.micro_batch_size
    if usable < 2 * micro_batch:
        raise _refusal(
            data,
            f"{usable} rows to train on, two micro-batches need {2 * micro_batch}: set micro_batch_size "
            f"(it is {recipe.micro_batch_size}) to {max(2, usable // 2 // 2 * 2)} or less, or add rows",
        )


def _mostly_dropped(data: Dataset, fact: str) -> TrainingRefusal:
    """Returns the refusal that names the most frequent reason and the first row with it."""
    (reason, count), *_ = Counter(row.fault.reason for _, row in data.faulty).most_common(1)
    first = next(row for _, row in data.faulty if row.fault.reason == reason)
    return TrainingRefusal("data", f"{first.name}: {first.fault.sentence} ({fact}, {count} for this reason)")


def _require_both_classes(data: Dataset, tally: ClassTally, objective: str) -> None:
    if tally.desirable == 0 or tally.undesirable == 0:
        only, missing = ("desirable", "undesirable") if tally.desirable else ("undesirable", "desirable")
        other = ", or use sft" if only == "desirable" else ""
        raise _refusal(
            data,
            f"all {len(data.train.examples)} rows to train on are {only}, {objective} needs both classes: "
            f"add {missing} rows{other}",
        )


def _require_balance(data: Dataset, tally: ClassTally) -> None:
    up, down = tally.weight_desirable, tally.weight_undesirable
    if not (up <= WIDEST_IMBALANCE * down and down <= WIDEST_IMBALANCE * up):
        rare = "desirable" if up < down else "undesirable"
        raise _refusal(
            data,
            f"desirable to undesirable is {up:g} : {down:g} by weight, outside 1:{WIDEST_IMBALANCE} … "
            f"{WIDEST_IMBALANCE}:1: add {rare} rows, or --allow-imbalance",
        )


def _refusal(data: Dataset, message: str) -> TrainingRefusal:
    return TrainingRefusal("data", f"{data.files}: {message}")
