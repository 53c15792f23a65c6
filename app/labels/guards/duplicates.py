"""Texts that are one text: the same, or nearly the same. Pure."""

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from thumbwheel import wire

from app.labels.guards.text import normalised

if TYPE_CHECKING:
    from datasketch import MinHash

SEED = 1
#: How much a pair that is overlooked counts against one that is looked at in vain: each is looked at, which is cheap.
FALSE_POSITIVE, FALSE_NEGATIVE = 0.1, 0.9


def exact(keys: Iterable[Hashable]) -> NDArray[np.uint32]:
    """A cluster number for each key, counted from 0 in the order in which they come; equal keys have the same."""
    numbers: dict[Hashable, int] = {}
    return np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), np.uint32)


def near(texts: Iterable[str], rules: wire.guard_rules.NearDuplicates) -> NDArray[np.uint32]:
    """A cluster number for each text, counted from 0 in the order in which they come.

    A text belongs to the cluster whose first text is the most alike, if that is alike enough; else it is the first of a
    cluster. So each is alike to the first of its cluster: chains of small steps lead nowhere, and a flood of one text
    costs no more than as many others. Alike: the Jaccard similarity of the sets of pairs of neighbouring words,
    estimated by MinHash (Broder, SEQUENCES 1997); its standard error is √(s(1−s)/permutations).
    """
    # With it comes scipy, which neither the API nor a worker without near duplicates has any use for.
    from datasketch import MinHash, MinHashLSH

    found = MinHashLSH(
        threshold=rules.similarity, num_perm=rules.permutations, weights=(FALSE_POSITIVE, FALSE_NEGATIVE)
    )
    empty = MinHash(num_perm=rules.permutations, seed=SEED)
    firsts: list[MinHash] = []
    clusters: dict[str, int] = {}
    numbers: list[int] = []
    for text in texts:
        said = normalised(text)
        if said not in clusters:
            sketch = empty.copy()
            sketch.update_batch(_word_pairs(said))
            cluster = _most_alike(sketch, firsts, sorted(found.query(sketch)), rules.similarity)
            if cluster is None:
                cluster = len(firsts)
                firsts.append(sketch)
                found.insert(cluster, sketch, check_duplication=False)
            clusters[said] = cluster
        numbers.append(clusters[said])
    return np.array(numbers, np.uint32)


def _word_pairs(text: str) -> list[bytes]:
    """A single word, or no word at all, is a pair with nothing."""
    words = text.encode("utf-8", "surrogatepass").split(b" ")
    return sorted({first + b" " + second for first, second in zip(words, words[1:] or [b""], strict=False)})


def _most_alike(sketch: "MinHash", firsts: "list[MinHash]", candidates: list[int], least: float) -> int | None:
    """The earlier one of two that are equally alike."""
    alike = [(sketch.jaccard(firsts[number]), -number) for number in candidates]
    similarity, number = max(alike, default=(0.0, 0))
    return -number if alike and similarity >= least else None
