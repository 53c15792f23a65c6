"""Clusters the nearly equal texts of one dataset, at the similarity that a label policy names. Pure.

Prompts have permanent groups, which are made in another way: see `app.snapshots.prompts.groups`.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from thumbwheel import wire

from app.labels.guards.text import normalised

if TYPE_CHECKING:
    from datasketch import MinHash

SEED = 1
#: Weights of pairs examined without result and of pairs overlooked. The former cost little.
FALSE_POSITIVE, FALSE_NEGATIVE = 0.1, 0.9


def clusters_of(texts: Iterable[str], rules: wire.guard_rules.NearDuplicates) -> NDArray[np.uint32]:
    """Returns a cluster number for each text, counted from 0 by first occurrence.

    A text joins the cluster whose first text is the most similar, if that is similar enough; else it founds a cluster.
    Each text is therefore similar to the first of its cluster: chains of small steps do not form clusters, and a flood
    of one text costs no more than the same number of other texts. Similarity is the Jaccard similarity of the sets of
    pairs of neighbouring words, estimated by MinHash (Broder, SEQUENCES 1997) with a standard error of
    √(s(1−s)/permutations).
    """
    # It imports scipy, which neither the API nor a worker without near duplicates needs.
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(
        threshold=rules.similarity, num_perm=rules.permutations, weights=(FALSE_POSITIVE, FALSE_NEGATIVE)
    )
    empty = MinHash(num_perm=rules.permutations, seed=SEED)
    firsts: list[MinHash] = []
    clusters: dict[str, int] = {}
    numbers: list[int] = []
    for text in texts:
        plain = normalised(text)
        if plain not in clusters:
            sketch = empty.copy()
            sketch.update_batch(_word_pairs(plain))
            cluster = _most_alike(sketch, firsts, sorted(index.query(sketch)), rules.similarity)
            if cluster is None:
                cluster = len(firsts)
                firsts.append(sketch)
                index.insert(cluster, sketch, check_duplication=False)
            clusters[plain] = cluster
        numbers.append(clusters[plain])
    return np.array(numbers, np.uint32)


def _word_pairs(text: str) -> list[bytes]:
    """Returns the distinct pairs of neighbouring words, sorted. A single word, or none, makes a pair with nothing."""
    words = text.encode("utf-8", "surrogatepass").split(b" ")
    return sorted({first + b" " + second for first, second in zip(words, words[1:] or [b""], strict=False)})


def _most_alike(sketch: "MinHash", firsts: "list[MinHash]", candidates: list[int], least: float) -> int | None:
    """Returns the most similar cluster, the earlier one of equals; None if its similarity is below `least`."""
    alike = [(sketch.jaccard(firsts[number]), -number) for number in candidates]
    similarity, number = max(alike, default=(0.0, 0))
    return -number if alike and similarity >= least else None
