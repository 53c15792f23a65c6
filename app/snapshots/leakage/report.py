"""Reports what the two sides of a snapshot share: words, groups of prompts, actors. Pure.

Words are compared in a sample, whose size is in the report. Prompts are drawn by their keys, so that the same rows give
the same sample in any order; each prompt has one completion. The report counts words and quotes none, since it outlives
the rows of erased users.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.labels.guards.text import normalised
from app.snapshots.leakage import containment
from app.snapshots.leakage.containment import contained
from app.snapshots.leakage.longest_run import longest_shared
from app.snapshots.prompts.split import Split
from app.snapshots.prompts.system_text import spoken

#: Prompts in the sample of each side. Rows that are not for training count as held out.
SAMPLE = {"train": 5_000, "holdout": 1_000}
#: Characters of a text that are compared.
CHARACTERS = 2_000
#: Words in a row that are more than a phrase (Brown et al., arXiv 2005.14165, appendix C: tests in training data).
OVERLAP = 13


@dataclass(frozen=True)
class ActorOverlap:
    """The numbers of actors with training rows, with held-out rows, and with both; and the share of the training weight
    in rows to which actors with both contributed.
    """

    train: int
    holdout: int
    on_both_sides: int
    share_of_training_weight: float


class Leakage:
    """Collects the sample from all rows; memory is that of the sample."""

    def __init__(self) -> None:
        self._samples = {side: _Sample(size) for side, size in SAMPLE.items()}

    def add(self, split: Split, prompts: Sequence[str], completions: Sequence[str], keys: Sequence[bytes]) -> None:
        """Adds rows. `prompts`: texts from `app.snapshots.prompts.split.group_of`; `keys`: their hashes of 16 bytes."""
        self._samples["train" if split == "train" else "holdout"].add(prompts, completions, keys)

    def report(
        self, *, groups_on_both_sides: int, conversations_on_both_sides: int, actors: ActorOverlap
    ) -> dict[str, Any]:
        """Returns the report for the manifest."""
        train, holdout = (self._samples[side].texts() for side in ("train", "holdout"))
        return {
            "groups_on_both_sides": groups_on_both_sides,
            "conversations_on_both_sides": conversations_on_both_sides,
            "actors": asdict(actors),
            "sample": {"train": len(train), "holdout": len(holdout), "characters": CHARACTERS},
            "prompts": _words([row.prompt for row in holdout], [row.prompt for row in train]),
            "completions": _words([row.completion for row in holdout], [row.completion for row in train]),
            "contained": contained([row.whole for row in holdout], [row.whole for row in train]),
        }


def on_both_sides(unit: NDArray[np.int32], held_out: NDArray[np.bool_]) -> int:
    """Returns the number of groups or conversations, numbered from 0, with rows on both sides: not 0 only by a bug."""
    return int(np.count_nonzero(_present(unit[held_out], unit) & _present(unit[~held_out], unit)))


def actor_overlap(
    members: tuple[NDArray[np.int32], NDArray[np.int32]], held_out: NDArray[np.bool_], weight: NDArray[np.float64]
) -> ActorOverlap:
    """Returns the overlap of actors. `members`: (M,) row and (M,) actor, numbered from 0 · `held_out`, `weight`: one
    value for each row."""
    row, actor = members
    is_held_out = held_out[row]
    train, holdout = _present(actor[~is_held_out], actor), _present(actor[is_held_out], actor)
    both = train & holdout
    theirs = np.zeros(weight.size, dtype=bool)
    theirs[row[both[actor]]] = True
    total = float(weight[~held_out].sum())
    share = float(weight[theirs & ~held_out].sum()) / total if total > 0 else 0.0
    return ActorOverlap(int(train.sum()), int(holdout.sum()), int(both.sum()), share)


def _present(some: NDArray[np.int32], of: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Returns a mask over the numbers up to the largest of `of`, true for the numbers in `some`."""
    there = np.zeros(int(of.max(initial=-1)) + 1, dtype=bool)
    there[some] = True
    return there


class _Drawn(NamedTuple):
    """A row of the sample. `whole`: the part of the prompt that `app.snapshots.leakage.containment` searches."""

    prompt: str
    completion: str
    whole: str


class _Sample:
    """The texts with the lowest keys: for each key a prompt and its completion with the lowest hash."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._texts: dict[int, tuple[str, bytes, str]] = {}  # whole prompt, hash of the completion, its text
        self._highest = np.uint64(2**64 - 1)

    def add(self, prompts: Sequence[str], completions: Sequence[str], keys: Sequence[bytes]) -> None:
        ranks = np.frombuffer(b"".join(keys), ">u8").reshape(-1, 2)[:, 1]
        for number in np.flatnonzero(ranks <= self._highest).tolist():
            completion = completions[number]
            drawn = blake2b(completion.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            prompt = spoken(prompts[number]).said[: containment.CHARACTERS]
            row = (prompt, drawn, normalised(completion[: 2 * CHARACTERS])[:CHARACTERS])
            rank = int(ranks[number])
            self._texts[rank] = min(row, self._texts.get(rank, row))
        if len(self._texts) > 1.25 * self._size:
            self._prune()

    def texts(self) -> list[_Drawn]:
        """Returns prompts and completions, ordered by key."""
        self._prune()
        return [
            _Drawn(prompt[:CHARACTERS], completion, prompt)
            for _, (prompt, _, completion) in sorted(self._texts.items())
        ]

    def _prune(self) -> None:
        if len(self._texts) > self._size:
            lowest = sorted(self._texts)[: self._size]
            self._texts = {rank: self._texts[rank] for rank in lowest}
            self._highest = np.uint64(lowest[-1])


def _words(holdout: Sequence[str], train: Sequence[str]) -> dict[str, Any]:
    sides = ([words for text in texts if (words := " ".join(text.split()))] for texts in (holdout, train))
    shared = longest_shared(*sides, at_least=OVERLAP)
    return {
        "longest_shared_words": shared.words,
        "holdout_overlapping": shared.texts,
        "overlapping_from_words": OVERLAP,
    }
