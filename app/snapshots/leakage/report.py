"""What the two sides of a snapshot share: words, groups of prompts, actors. Pure.

Words are looked for in a sample, of which the report says how large it is: prompts are drawn by their keys, so that the
same rows give the same sample in whatever order they come; of each prompt one completion. The report counts words and
quotes none: it outlives the rows of somebody who is erased.
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

#: Prompts that are looked at, of each side. Whatever is not for training is held out.
SAMPLE = {"train": 5_000, "holdout": 1_000}
#: Characters of a text that are looked at.
CHARACTERS = 2_000
#: Words in a row that are more than a phrase (Brown et al., arXiv 2005.14165, appendix C: tests in training data).
OVERLAP = 13


@dataclass(frozen=True)
class ActorOverlap:
    """Actors with training rows, with held-out rows, with both; and the share of the training weight that is in rows of
    which such an actor said something.
    """

    train: int
    holdout: int
    on_both_sides: int
    share_of_training_weight: float


class Leakage:
    """Takes the rows while they are written; memory is that of the sample."""

    def __init__(self) -> None:
        self._samples = {side: _Sample(size) for side, size in SAMPLE.items()}

    def add(self, split: Split, prompts: Sequence[str], completions: Sequence[str], keys: Sequence[bytes]) -> None:
        """prompts: as `app.snapshots.prompts.split.group_of` gives them; keys: 16 bytes of each, drawn by a hash."""
        self._samples["train" if split == "train" else "holdout"].add(prompts, completions, keys)

    def report(
        self, *, groups_on_both_sides: int, conversations_on_both_sides: int, actors: ActorOverlap
    ) -> dict[str, Any]:
        """For the manifest."""
        train, holdout = (self._samples[side].texts() for side in ("train", "holdout"))
        return {
            "groups_on_both_sides": groups_on_both_sides,
            "conversations_on_both_sides": conversations_on_both_sides,
            "actors": asdict(actors),
            "sample": {"train": len(train), "holdout": len(holdout), "characters": CHARACTERS},
            "prompts": _words([one.prompt for one in holdout], [one.prompt for one in train]),
            "completions": _words([one.completion for one in holdout], [one.completion for one in train]),
            "contained": contained([one.whole for one in holdout], [one.whole for one in train]),
        }


def on_both_sides(unit: NDArray[np.int32], held_out: NDArray[np.bool_]) -> int:
    """Returns how many groups or conversations, numbered from 0 on, have rows on both sides: 0, or it is our error."""
    return int(np.count_nonzero(_present(unit[held_out], unit) & _present(unit[~held_out], unit)))


def actor_overlap(
    members: tuple[NDArray[np.int32], NDArray[np.int32]], held_out: NDArray[np.bool_], weight: NDArray[np.float64]
) -> ActorOverlap:
    """members: (M,) row and (M,) actor, numbers from 0 on: who said something about what · the others: of all rows."""
    row, actor = members
    mine = held_out[row]
    train, holdout = _present(actor[~mine], actor), _present(actor[mine], actor)
    both = train & holdout
    theirs = np.zeros(weight.size, dtype=bool)
    theirs[row[both[actor]]] = True
    total = float(weight[~held_out].sum())
    share = float(weight[theirs & ~held_out].sum()) / total if total > 0 else 0.0
    return ActorOverlap(int(train.sum()), int(holdout.sum()), int(both.sum()), share)


def _present(some: NDArray[np.int32], of: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which numbers there are among some of these."""
    there = np.zeros(int(of.max(initial=-1)) + 1, dtype=bool)
    there[some] = True
    return there


class _Drawn(NamedTuple):
    """whole: as much of the prompt as `app.snapshots.leakage.containment` looks through."""

    prompt: str
    completion: str
    whole: str


class _Sample:
    """The texts with the lowest keys: of each key a prompt and the completion with the lowest hash."""

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
        """Prompts and completions, by key."""
        self._prune()
        return [
            _Drawn(prompt[:CHARACTERS], completion, prompt)
            for _, (prompt, _, completion) in sorted(self._texts.items())
        ]

    def _prune(self) -> None:
        if len(self._texts) > self._size:
            kept = sorted(self._texts)[: self._size]
            self._texts = {rank: self._texts[rank] for rank in kept}
            self._highest = np.uint64(kept[-1])


def _words(holdout: Sequence[str], train: Sequence[str]) -> dict[str, Any]:
    sides = ([said for text in texts if (said := " ".join(text.split()))] for texts in (holdout, train))
    found = longest_shared(*sides, at_least=OVERLAP)
    return {
        "longest_shared_words": found.words,
        "holdout_overlapping": found.texts,
        "overlapping_from_words": OVERLAP,
    }
