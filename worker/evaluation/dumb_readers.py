"""Baselines that know nothing of the candidate: a credible model has to beat them.

    bag_of_words  a logistic regression on the words of prompt and completion, fitted to the training rows
    length        the number of the completion's tokens; the training rows determine which direction is good
    reference     log-prob per token of the completion under the reference

Each is judged like the candidate: AUROC against the label, on the same resamples of prompts. The words reveal a chat
whose earlier turns were trained on; the length reveals users who dislike long answers.

Legend: N held-out rows, M training rows, V features.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from thumbwheel.chat_messages import text_of

from app.statistics import measures
from app.statistics.bootstrap import Bootstrap
from app.statistics.measures import Array
from worker.training.data.rows import Row, TokenisedRows
from worker.training.job import Job, Shard

#: Largest number of training rows for the fit; if there are more, they are drawn at random.
MOST_ROWS = 20_000
#: Smallest number of training rows of each class for a fit.
LEAST_OF_CLASS = 20
#: Number of features to which words are hashed, and of characters of a text that are read.
FEATURES, CHARACTERS = 2**18, 20_000
_WORD = re.compile(r"\w+")


def dumb_readers(
    job: Job,
    read: TokenisedRows,
    in_order: Sequence[Row],
    r_N: Array,
    own_reference_N: Array,
    over_prompts: Bootstrap,
    absent: str,
) -> dict[str, Any]:
    """Returns a figure for each reader, the name of the best one, and the candidate's lead over it, for scores.json.

    The lead, `auroc_over_best`, is a difference of AUROCs.

    in_order         the rows, in the order of the arrays
    r_N              the candidate's rewards
    own_reference_N  log-prob of each row's completion under the reference
    absent           the reason for missing figures if the held-out rows are of one class
    """
    desirable_N = np.array([row.desirable for row in in_order], dtype=bool)
    tokens_N = np.array([len(row.completion) for row in in_order], dtype=np.float64)
    train = _Train(job)
    readings: dict[str, Array | str] = {
        "bag_of_words": train.bag_of_words(job, read, in_order),
        "length": tokens_N * train.sign_of_length if train.both_classes else train.reason,
        "reference": own_reference_N / np.maximum(tokens_N, 1),
    }
    figures: dict[str, Any] = {}
    known: dict[str, measures.Statistic] = {}
    for name, reading in readings.items():
        if isinstance(reading, str):
            figures[name] = {"value": None, "low": None, "high": None, "reason": reading}
            continue
        statistic = measures.auroc(reading, desirable_N)
        figures[name] = over_prompts.interval(statistic, absent)
        if figures[name]["value"] is not None:
            known[name] = statistic
    best = max(known, key=lambda name: figures[name]["value"], default=None)
    over = {"value": None, "low": None, "high": None, "reason": absent}
    if best is not None:
        over = over_prompts.interval(measures.difference(measures.auroc(r_N, desirable_N), known[best]), absent)
    return {**figures, "best": best, "auroc_over_best": over}


class _Train:
    """The training rows that readers are fitted to."""

    def __init__(self, job: Job) -> None:
        shards = job.shards_of("train")
        total = sum(shard.rows for shard in shards)
        drawn = np.arange(total)
        if total > MOST_ROWS:
            drawn = np.sort(np.random.default_rng(job.recipe.seed).choice(total, MOST_ROWS, replace=False))
        chosen = set(drawn.tolist())
        rows = [row for number, row in enumerate(_rows(job.workdir, shards)) if number in chosen and row[3] > 0]
        self._texts = [(prompt, completion) for prompt, completion, _, _ in rows]
        self._label_M = np.array([label for _, _, label, _ in rows], dtype=bool)
        self._weight_M = np.array([weight for _, _, _, weight in rows], dtype=np.float64)
        least = min(int(self._label_M.sum()), int((~self._label_M).sum()))
        self.both_classes = least >= LEAST_OF_CLASS
        self.reason = f"{least} training rows of a class are too few to fit anything to: {LEAST_OF_CLASS} are needed"

    @property
    def sign_of_length(self) -> float:
        """The sign of the length reader: 1 if longer training completions are the better ones, otherwise -1."""
        length_M = np.array([len(completion) for _, completion in self._texts], dtype=np.float64)
        value = float(measures.auroc(length_M, self._label_M)(self._weight_M[None, :])[0])
        return 1.0 if value >= 0.5 else -1.0

    def bag_of_words(self, job: Job, read: TokenisedRows, in_order: Sequence[Row]) -> Array | str:
        """Returns a score of each held-out row by its words, (N,), or the reason why there is none."""
        if not self.both_classes or not in_order:
            return self.reason
        place_of = {id(read.rows[index]): place for place, index in read.places.items()}
        shards = job.shards_of("holdout")
        texts = {
            (path, number): (prompt, completion) for path, number, prompt, completion in _placed(job.workdir, shards)
        }
        held_out = [texts[place_of[id(row)]] for row in in_order]
        return scores_by_words(self._texts, self._label_M, self._weight_M, held_out)


def scores_by_words(
    texts_M: Sequence[tuple[str, str]], label_M: Array, weight_M: Array, held_out_N: Sequence[tuple[str, str]]
) -> Array:
    """Returns a score of each held-out prompt and completion, (N,), by a bag of words fitted to the training ones."""
    # Imported only if it is needed, as that takes seconds.
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(class_weight="balanced", max_iter=200)
    model.fit(_features(texts_M), label_M.astype(int), sample_weight=weight_M)
    decided_N: Array = model.decision_function(_features(held_out_N))
    return decided_N


def _features(texts: Sequence[tuple[str, str]]) -> Any:
    """Returns the features of `texts`, a sparse matrix (rows, V)."""
    from sklearn.feature_extraction.text import HashingVectorizer

    return HashingVectorizer(n_features=FEATURES, alternate_sign=False, analyzer=_words).transform(texts)


def _words(texts: tuple[str, str]) -> list[str]:
    """Returns the words of prompt and completion, marked as such."""
    return [f"{side}:{word}" for side, text in zip("pc", texts, strict=True) for word in _WORD.findall(text.casefold())]


def _rows(workdir: Path, shards: Sequence[Shard]) -> Iterator[tuple[str, str, bool, float]]:
    columns = ["prompt", "completion", "label", "weight"]
    for shard in shards:
        for batch in pq.ParquetFile(workdir / "snapshot" / shard.path).iter_batches(columns=columns):
            for row in batch.to_pylist():
                yield _text(row["prompt"]), _text(row["completion"]), row["label"], row["weight"]


def _placed(workdir: Path, shards: Sequence[Shard]) -> Iterator[tuple[str, int, str, str]]:
    for shard in shards:
        for number, (prompt, completion, _, _) in enumerate(_rows(workdir, [shard])):
            yield shard.path, number, prompt, completion


def _text(content: str | list[dict[str, Any]]) -> str:
    text = content if isinstance(content, str) else "\n".join(map(text_of, content))
    return text[-CHARACTERS:]
