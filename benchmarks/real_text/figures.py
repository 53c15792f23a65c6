"""AUROC of every reader on the held-out messages, and KTO's lead, with intervals over conversations and seeds. Pure.

The messages of a conversation are not independent, and one partner rated them, so a resample draws conversations
(`app.statistics.bootstrap`), the same ones for all readers. No conversation is held out at two seeds: over the seeds,
the figure is the mean of theirs, with the same bootstrap over the conversations of all seeds, and with Student's t over
the seeds' figures, which also contains the variation of training.

Legend: N held-out rows, R resamples.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from app.statistics.bootstrap import Bootstrap, group_numbers
from app.statistics.measures import Array, Statistic, auroc, difference
from benchmarks.desk_study.over_seeds import interval

CANDIDATE = "kto"
#: KTO's log-ratio divided by the characters of the completion.
PER_CHARACTER = "kto_per_character"
#: Readers that know nothing. The two last ones show where the words of the first say it.
READERS = ("bag_of_words", "length", "words_of_prompt", "words_of_completion")
RESAMPLES, CONFIDENCE, SEED = 1000, 0.95, 1
ABSENT = "the holdout has rows of one class only"

HeldOut = Mapping[str, Sequence[Any]]


def document(by_seed: Mapping[int, HeldOut]) -> dict[str, Any]:
    """Returns the figures of each seed and over the seeds."""
    seeds = {str(seed): _figures([held_out]) for seed, held_out in by_seed.items()}
    together = _figures([*by_seed.values()])
    for name, figures in together.items():
        for figure, value in figures.items():
            value["over_seeds"] = interval([seeds[seed][name][figure]["value"] for seed in seeds])
    return {"seeds": seeds, "together": together}


def _figures(parts: Sequence[HeldOut]) -> dict[str, Any]:
    """Returns the AUROC of KTO and of each reader, and KTO's leads over the readers, each a mean over `parts`.

    They are {"auroc", "lead", "lead_per_character"}, each {reader: figure}.
    """
    conversations = [name.encode() for part in parts for name in part["conversation"]]
    bootstrap = Bootstrap(group_numbers(conversations), np.ones(len(conversations)), RESAMPLES, CONFIDENCE, SEED)
    names = (CANDIDATE, PER_CHARACTER, *READERS)
    statistics = {name: _mean_auroc(parts, name) for name in names}
    leads = [
        bootstrap.intervals({name: difference(statistics[own], statistics[name]) for name in READERS}, ABSENT)
        for own in (CANDIDATE, PER_CHARACTER)
    ]
    return {"auroc": bootstrap.intervals(statistics, ABSENT), "lead": leads[0], "lead_per_character": leads[1]}


def _mean_auroc(parts: Sequence[HeldOut], reader: str) -> Statistic:
    ends = np.cumsum([len(part["desirable"]) for part in parts])
    of_parts = [
        (slice(end - len(part["desirable"]), end), _auroc(part, reader)) for part, end in zip(parts, ends, strict=True)
    ]

    def statistic(W_RN: Array) -> Array:
        return np.mean([of_part(W_RN[:, rows]) for rows, of_part in of_parts], axis=0)

    return statistic


def _auroc(part: HeldOut, reader: str) -> Statistic:
    score_N = np.array(part[CANDIDATE if reader == PER_CHARACTER else reader], dtype=float)
    if reader == PER_CHARACTER:
        score_N = score_N / np.abs(np.array(part["length"]))
    return auroc(score_N, np.array(part["desirable"], dtype=bool))
