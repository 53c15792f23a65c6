"""Figures of a model on held-out edits.

Legend: B rows, P tokens of prompt and completion with padding, V vocabulary.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM

from app.statistics.measures import auroc
from benchmarks.edits.segments import Segment
from worker.training.data.tokens import Encoded, Span
from worker.training.models.policy import load_tokens

Array = NDArray[Any]
AT_ONCE = 64


class HeldOut(NamedTuple):
    """Held-out segments as token ids; `changed`: which tokens of each original the edit changed, its end left out."""

    originals: list[Encoded]
    edited: list[Encoded]
    changed: list[Array]


class Scores(NamedTuple):
    """A number for each token of a completion: its log-prob, or its log-ratio with another model, in nats."""

    originals: list[Array]
    edited: list[Array]

    def minus(self, other: "Scores") -> "Scores":
        sides = ([a - b for a, b in zip(*pair, strict=True)] for pair in zip(self, other, strict=True))
        return Scores(*sides)


def held_out(base: Path, segments: Sequence[Segment]) -> HeldOut:
    tokens = load_tokens(base)
    prompts = [segment.prompt for segment in segments]
    spans = [[Span(start, end, 0.0) for start, end in segment.kept.spans] for segment in segments]
    originals = tokens.encode_text(prompts, [segment.original for segment in segments], spans)
    edited = tokens.encode_text(prompts, [segment.edited for segment in segments])
    sound = [pair for pair in zip(originals, edited, strict=True) if all(isinstance(row, Encoded) for row in pair)]
    mine: list[Any] = [original for original, _ in sound]
    theirs: list[Any] = [changed for _, changed in sound]
    return HeldOut(mine, theirs, [row.weights[:-1] == 1 for row in mine])


def scores_by(model: Path, rows: HeldOut) -> Scores:
    """Returns the log-probs that a model gives."""
    return Scores(log_probs(model, rows.originals), log_probs(model, rows.edited))


def figures_of(scores: Scores, rows: HeldOut) -> dict[str, float]:
    """Returns how well scores tell edited texts from originals, and changed from kept tokens.

    pair_accuracy           share of segments whose edited text has the higher sum, a tie as half
    pair_accuracy_by_token  the same of the means
    auroc                   of edited texts over originals by the means
    changed_auroc           of changed over kept tokens of the originals, the lower score first
    changed_auroc_within    the mean of the same within one original
    changed, kept           mean score of these tokens
    """
    sums, means = ([[float(fold(row)) for row in side] for side in scores] for fold in (np.sum, np.mean))
    tokens = [row[:-1] for row in scores.originals]
    every, changed = np.concatenate(tokens), np.concatenate(rows.changed)
    both = [pair for pair in zip(tokens, rows.changed, strict=True) if 0 < pair[1].sum() < len(pair[1])]
    return {
        "pair_accuracy": _share_above(sums[1], sums[0]),
        "pair_accuracy_by_token": _share_above(means[1], means[0]),
        "auroc": _auroc(np.array(means[1] + means[0]), np.repeat([True, False], len(means[0]))),
        "changed_auroc": _auroc(-every, changed),
        "changed_auroc_within": fmean(_auroc(-score, is_changed) for score, is_changed in both),
        "changed": float(every[changed].mean()),
        "kept": float(every[~changed].mean()),
    }


@torch.no_grad()
def log_probs(folder: Path, rows: Sequence[Encoded]) -> list[Array]:
    """Returns the log-prob of each completion token of each row."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    found: dict[int, Array] = {}
    texts = [np.concatenate([row.prompt, row.completion]) for row in rows]
    order = sorted(range(len(rows)), key=lambda number: len(texts[number]))
    for start in range(0, len(rows), AT_ONCE):
        some = order[start : start + AT_ONCE]
        whole = [texts[number] for number in some]
        ids_BP = torch.zeros(len(some), max(map(len, whole)), dtype=torch.long)
        for line, ids in zip(ids_BP, whole, strict=True):
            line[: len(ids)] = torch.from_numpy(ids)
        # Padding follows the text, so that no token attends to it.
        lp_BPV = model(input_ids=ids_BP).logits.log_softmax(-1)
        lp_BP = lp_BPV[:, :-1].gather(2, ids_BP[:, 1:, None]).squeeze(2)
        for line, number, ids in zip(lp_BP, some, whole, strict=True):
            found[number] = line[len(rows[number].prompt) - 1 : len(ids) - 1].double().numpy()
    return [found[number] for number in range(len(rows))]


def _share_above(left: Sequence[float], right: Sequence[float]) -> float:
    return fmean((a > b) + (a == b) / 2 for a, b in zip(left, right, strict=True))


def _auroc(score: Array, positive: Array) -> float:
    return float(auroc(score, positive)(np.ones((1, len(score))))[0])
