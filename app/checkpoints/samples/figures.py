"""Figures of the replies that models write to the same prompts: length, refusals, emptiness, repetition. Pure.

Every figure is a mean or a ratio over prompts, so that models can be compared prompt by prompt:

    length_mean        tokens of a reply, its end among them
    empty_share        replies of white space alone
    refusal_share      replies that decline (`app.suites.refusals`)
    repetition_share   mean over replies of 1 − distinct 4-grams / 4-grams of its words (seq-rep-4 of Welleck et al.,
                       arXiv 1908.04319); a reply of fewer than four words repeats nothing
    distinct_2         distinct pairs of neighbouring words / all pairs, over all replies (Li et al., arXiv 1510.03055).
                       In a resample each pair counts 1 / its number of occurrences over all replies, which gives the
                       value itself without resampling, and keeps repeated prompts from lowering it
    unfinished_share   replies that were cut off at the limit

Intervals are bootstraps over prompts, but Wilson's for a share of one model: the bootstrap of a share that no reply, or
every reply, adds to has no width.

Legend: N replies, one for each prompt.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from app.statistics.bootstrap import Bootstrap
from app.statistics.measures import Array, Statistic, difference, mean, ratio_of_sums
from app.statistics.shares import wilson
from app.suites.refusals import is_refusal

GRAM = 4


@dataclass(frozen=True)
class Replies:
    """Measures of one model's replies; replies of another model to the same prompts are in the same order."""

    texts: Sequence[str]
    tokens_N: Array
    unfinished_N: Array
    empty_N: Array
    refusal_N: Array
    repetition_N: Array
    distinct_N: Array  # pairs of words, each counted as a share of its occurrences
    pairs_N: Array

    @classmethod
    def of(cls, texts: Sequence[str], tokens: Sequence[int], finished: Sequence[bool]) -> "Replies":
        words = [text.split() for text in texts]
        pairs = [list(pairwise(reply)) for reply in words]
        occurrences = Counter(pair for of_reply in pairs for pair in of_reply)
        return cls(
            texts=texts,
            tokens_N=np.array(tokens, dtype=np.float64),
            unfinished_N=np.array([not end for end in finished], dtype=np.float64),
            empty_N=np.array([not text.strip() for text in texts], dtype=np.float64),
            refusal_N=np.array([is_refusal(text) for text in texts], dtype=np.float64),
            repetition_N=np.array([_repetition(reply) for reply in words], dtype=np.float64),
            distinct_N=np.array([sum(1 / occurrences[pair] for pair in of_reply) for of_reply in pairs]),
            pairs_N=np.array([len(of_reply) for of_reply in pairs], dtype=np.float64),
        )

    @property
    def statistics(self) -> dict[str, Statistic]:
        return {
            "length_mean": mean(self.tokens_N),
            "empty_share": mean(self.empty_N),
            "refusal_share": mean(self.refusal_N),
            "repetition_share": mean(self.repetition_N),
            "distinct_2": ratio_of_sums(self.distinct_N, self.pairs_N),
            "unfinished_share": mean(self.unfinished_N),
        }


def figures_of(replies: Replies, over_prompts: Bootstrap) -> dict[str, Any]:
    """Returns the figures of one model's replies."""
    shares = {
        "empty_share": replies.empty_N,
        "refusal_share": replies.refusal_N,
        "unfinished_share": replies.unfinished_N,
    }
    others = {name: statistic for name, statistic in replies.statistics.items() if name not in shares}
    figures = over_prompts.intervals(others, NO_WORDS)
    return with_groups(
        {name: figures.get(name) or _share(shares[name], over_prompts) for name in replies.statistics}, over_prompts
    )


def compared(replies: Replies, other: Replies, over_prompts: Bootstrap) -> dict[str, Any]:
    """Returns the figures of `replies` against `other`: a ratio of lengths, and differences, paired by prompt."""
    own, others = replies.statistics, other.statistics
    statistics = {
        "length_ratio": ratio_of_sums(replies.tokens_N, other.tokens_N),
        "refusal_difference": difference(own["refusal_share"], others["refusal_share"]),
        "empty_difference": difference(own["empty_share"], others["empty_share"]),
        "repetition_difference": difference(own["repetition_share"], others["repetition_share"]),
        "distinct_2_difference": difference(own["distinct_2"], others["distinct_2"]),
    }
    return with_groups(over_prompts.intervals(statistics, NO_WORDS), over_prompts)


def unchanged(texts: Sequence[str], others: Sequence[str], over_prompts: Bootstrap) -> dict[str, Any]:
    """Returns the share of replies that are equal, character by character."""
    same_N = np.array([text == other for text, other in zip(texts, others, strict=True)], dtype=np.float64)
    return with_groups({"unchanged_share": _share(same_N, over_prompts)}, over_prompts)


#: The reason for a missing figure: the other figures have a value whenever there is a prompt.
NO_WORDS = "no reply has two words"


def over_prompts_of(count: int, resamples: int, confidence: float, seed: int) -> Bootstrap:
    """Returns the bootstrap over `count` prompts with one reply each."""
    return Bootstrap(np.arange(count), np.ones(count), resamples, confidence, seed)


def with_groups(figures: Mapping[str, Mapping[str, Any]], over_prompts: Bootstrap) -> dict[str, Any]:
    """Returns the figures with the number of prompts that they rest on."""
    groups = len(np.unique(over_prompts.groups_N))
    named = {name: {**figure, "groups": groups} for name, figure in figures.items()}
    if not groups:
        return {name: {**figure, "reason": "no prompts were sampled"} for name, figure in named.items()}
    return named


def _share(claim_N: Array, over_prompts: Bootstrap) -> dict[str, Any]:
    """Returns the share of replies that a claim is true of, with Wilson's interval."""
    interval = wilson(int(claim_N.sum()), len(claim_N), over_prompts.confidence)
    if interval is None:
        return {"value": None, "low": None, "high": None}
    return {"value": float(claim_N.mean()), "low": interval[0], "high": interval[1]}


def _repetition(words: Sequence[str]) -> float:
    grams = [tuple(words[start : start + GRAM]) for start in range(len(words) - GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
