"""From labelled completions to the rows of a snapshot: duplicates collapsed, influence capped, each on its side."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args
from uuid import UUID

import numpy as np
from thumbwheel import wire

from app.labels.guards import duplicates, influence
from app.labels.guards.text import key_of
from app.labels.policy import THOUSANDTHS
from app.labels.service import LabelledRow, Prompt, Resolved, rows_of
from app.snapshots.balance import Tally
from app.snapshots.pairs import pairs_of
from app.snapshots.split import Split, group_of, split_of

Format = Literal["text", "chat"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """One row of a snapshot but for its text, which lies at `place`."""

    position: int
    completion_id: str
    label: bool
    weight: float
    reason: str
    checkpoint_id: UUID | None
    split: Split
    format: Format
    prompt: bytes  # equal for equal prompts
    place: int
    group: bytes  # equal for prompts that say the same
    actors: tuple[str, ...]


@dataclass(frozen=True)
class Selection:
    """`rows` in the order of the log. `drops`: reason → completions or rows that are not in it. `capped`: training rows
    that weigh less, by whose influence was over its cap.

    `counts` are those of `app.labels.service.counts`: rows before equal ones are collapsed.
    """

    rows: Sequence[Chosen]
    counts: wire.ClassCounts
    drops: Counter[str]
    capped: dict[str, int]
    train: Tally
    holdout: Tally

    def shard(self, split: Split, kind: Format) -> list[Chosen]:
        """The rows that one file takes."""
        return [row for row in self.rows if row.split == split and row.format == kind]


def pairs_in(shard: Iterable[Chosen]) -> list[tuple[int, int]]:
    """(chosen, rejected) as row numbers of the shard."""
    return pairs_of((row.prompt, row.label) for row in shard)


def select(
    completions: Iterable[Resolved],
    project: str,
    guards: wire.policies.GuardRules,
    holdout_share: float,
    keep_text: Callable[[LabelledRow], int],
) -> Selection:
    """Choose the rows. `keep_text` puts a row's text somewhere and says where: here only the rest stays in memory.

    Rows with the same prompt and completion are one row with the label of the heavier side, or none where the sides
    are equal: the same text with both labels teaches nothing.
    """
    drops: Counter[str] = Counter()
    by_label: Counter[bool] = Counter()
    labelled: list[Chosen] = []
    said: list[
        tuple[str, str] | bytes
    ] = []  # what is told apart: texts where they are compared, else what stands for them
    for one in completions:
        if one.resolution.label is None:
            drops[one.resolution.reasons[0]] += 1
        elif one.completion is None:
            drops["unknown_text"] += 1
        elif _uses_tools(one.prompt):
            drops["tool_calls"] += 1
            continue
        group = "" if one.prompt is None else group_of(one.prompt)
        for row in rows_of(one):
            by_label[row.label] += 1
            chosen = Chosen(
                position=row.position,
                completion_id=row.completion_id,
                label=row.label,
                weight=row.weight,
                reason=row.reason,
                checkpoint_id=row.checkpoint_id,
                split=split_of(project, group, holdout_share),
                format="text" if isinstance(row.prompt, str) else "chat",
                prompt=_digest(row.prompt),
                place=keep_text(row),
                group=_digest(group),
                actors=row.actors,
            )
            labelled.append(chosen)
            said.append(_said(row, group, guards.duplicates))

    counts = wire.ClassCounts(desirable=by_label[True], undesirable=by_label[False], nothing=drops.total())
    left = (_one_of(group, drops) for group in _same(labelled, said, guards.duplicates.near))
    rows = sorted((chosen for chosen in left if chosen is not None), key=_order)
    rows, by_whom = _capped(rows, guards.influence, drops)
    selection = Selection(rows, counts, drops, by_whom, Tally(), Tally())
    for chosen in rows:
        tally = selection.train if chosen.split == "train" else selection.holdout
        tally.add(chosen.label, chosen.weight)
    selection.train.pairs = _pairs(selection, "train")
    selection.holdout.pairs = _pairs(selection, "holdout")
    return selection


def _said(row: LabelledRow, group: str, rules: wire.policies.Duplicates) -> tuple[str, str] | bytes:
    if rules.near is not None:
        return group, row.completion
    return key_of(group, row.completion) if rules.exact else _digest([row.prompt, row.completion])


def _same(
    rows: Sequence[Chosen], said: Sequence[Any], near: wire.policies.NearDuplicates | None
) -> Iterable[list[Chosen]]:
    """The rows whose prompts say the same, and whose completions do."""
    if near is not None:
        prompts, completions = ([texts[side] for texts in said] for side in (0, 1))
        said = list(zip(duplicates.near(prompts, near), duplicates.near(completions, near), strict=True))
    clusters: dict[int, list[Chosen]] = {}
    for row, cluster in zip(rows, duplicates.exact(said).tolist(), strict=True):
        clusters.setdefault(cluster, []).append(row)
    return clusters.values()


def _capped(
    rows: list[Chosen], rules: wire.policies.Influence, drops: Counter[str]
) -> tuple[list[Chosen], dict[str, int]]:
    """The rows, those for training at the weights that the caps leave them; and how many weigh less, by the cap."""
    train = [number for number, row in enumerate(rows) if row.split == "train"]
    actors: dict[str, int] = {}
    members = [
        (place, actors.setdefault(actor, len(actors)))
        for place, number in enumerate(train)
        for actor in rows[number].actors
    ]
    row, actor = np.array(members, dtype=np.int64).reshape(-1, 2).T
    capped = influence.capped(
        np.array([rows[number].weight for number in train]),
        (row, actor),
        duplicates.exact(rows[number].group for number in train),
        rules,
    )
    left = list(rows)
    for number, weight in zip(train, capped.weight.tolist(), strict=True):
        left[number] = replace(rows[number], weight=weight)
    drops["capped"] = sum(row.weight == 0 for row in left)
    found = {"capped_actor": int(capped.by_actor.sum()), "capped_prompt": int(capped.by_prompt.sum())}
    return [row for row in left if row.weight > 0], found


def _pairs(selection: Selection, split: Split) -> int:
    return sum(len(pairs_in(selection.shard(split, kind))) for kind in get_args(Format))


def _one_of(group: list[Chosen], drops: Counter[str]) -> Chosen | None:
    """What stays of rows with the same text: the first one of the heavier side, at the weight of its heaviest."""
    if len(group) == 1:
        return group[0]
    # In thousandths, as policies have weights: a tie is a tie in whatever order they are added.
    desirable = sum(round(row.weight * THOUSANDTHS) for row in group if row.label)
    undesirable = sum(round(row.weight * THOUSANDTHS) for row in group if not row.label)
    if desirable == undesirable:
        drops["contradiction"] += len(group)
        return None
    winners = sorted((row for row in group if row.label is (desirable > undesirable)), key=_order)
    drops["outvoted"] += len(group) - len(winners)
    drops["duplicate"] += len(winners) - 1
    weight = max(row.weight for row in winners)
    one = next(row for row in winners if row.weight == weight)
    return replace(one, actors=tuple(sorted({actor for row in winners for actor in row.actors})))


def _uses_tools(prompt: Prompt | None) -> bool:
    """Whether a message is more than a text: the shards have no columns for that."""
    return isinstance(prompt, list) and any(message.keys() != {"role", "content"} for message in prompt)


def _order(row: Chosen) -> tuple[int, str]:
    return row.position, row.completion_id


def _digest(said: Any) -> bytes:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).digest()[:16]
