"""One training on one split: the job of `thumbwheel train`, and every reader's score of each held-out message."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from app.checkpoints import held_out_scores
from app.statistics.measures import auroc
from benchmarks.real_text import ratings
from benchmarks.real_text.base import train_base_model
from worker.evaluation.dumb_readers import scores_by_words
from worker.training.machine.process import StopRequest
from worker.training.standalone.request import TrainingRequest
from worker.training.standalone.training import train_alone

PRESET = "cpu-demo"
MODEL = "model"


@dataclass(frozen=True)
class Size:
    """The labels and the amount of text; smaller in tests."""

    undesirable: int = 3  # highest rating of an undesirable message, as in the default label policy; 4 has no label
    base_epochs: int = 2
    messages: int | None = None  # as many of the file, from its beginning

    def read(self, data: Path) -> list[ratings.Rated]:
        return ratings.read(data, self.undesirable, self.messages)


def base_figures(workdir: Path, data: Path, without: Collection[int], size: Size, seed: int) -> dict[str, Any]:
    """Trains the base model on the conversations outside of the parts `without`, and keeps it beside `workdir`."""
    started = monotonic()
    texts = ratings.texts(ratings.split(size.read(data), without)[0])
    loss = train_base_model(workdir.parent / MODEL, texts, seed, size.base_epochs)
    return {
        "conversations": len(texts),
        "messages": sum(map(len, texts)),
        "loss_nats_per_token": round(loss, 3),
        "seconds": round(monotonic() - started, 1),
    }


def figures_of(
    workdir: Path, data: Path, base: Path, held_out: Collection[int], size: Size, changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the figures of a training, resuming an interrupted one, with the scores of each held-out message."""
    out = workdir.parent
    rows = {side: out.with_name(f"{out.name}-{side}.jsonl") for side in ("train", "eval")}
    messages = ratings.split(size.read(data), held_out)
    for path, side in zip(rows.values(), messages, strict=True):
        ratings.write_rows(path, side)
    request = TrainingRequest(
        data=(rows["train"],), eval_data=(rows["eval"],), model=base, out=out, preset=PRESET, changes=dict(changes)
    )
    summary = train_alone(request, StopRequest())
    figures = {
        **{name: summary[name] for name in ("rows", "rows_trained", "steps", "seconds", "warnings")},
        "evaluation_seconds": round(summary["scores"]["seconds"], 1),
        **{name: summary["scores"][name] for name in ("auroc", "auroc_per_token", "dumb_readers", "kl", "z0")},
        "held_out": _held_out(workdir, [message for message in messages[1] if message.label is not None]),
    }
    for path in rows.values():
        path.unlink()
    return figures


def _held_out(workdir: Path, messages: list[ratings.Rated]) -> dict[str, Any]:
    """Returns, for each scored message, its conversation, its label and every reader's score."""
    scored = held_out_scores.read(workdir / held_out_scores.FILE)
    train, held_out = (_texts(workdir / "snapshot" / f"{side}-chat.parquet") for side in ("train", "holdout"))
    lines = pq.read_table(workdir / "snapshot" / "holdout-chat.parquet", columns=["completion_id"])
    number_of = [int(name.rpartition(" ")[2]) - 1 for name in lines["completion_id"].to_pylist()]
    places = [row for _, row in scored.places]
    labels = np.array(pq.read_table(workdir / "snapshot" / "train-chat.parquet", columns=["label"])["label"])
    texts = [held_out[row] for row in places]
    length_M = np.array([len(completion) for _, completion in train])
    longer_is_better = 1 if float(auroc(length_M, labels)(np.ones((1, len(train))))[0]) >= 0.5 else -1

    def by_words(*, prompt: bool, completion: bool) -> list[float]:
        fit_to, read = ([(said * prompt, reply * completion) for said, reply in side] for side in (train, texts))
        scores_N = scores_by_words(fit_to, labels, np.ones(len(train)), read)
        return [round(score, 5) for score in scores_N.tolist()]

    return {
        "conversation": [messages[number_of[row]].conversation for row in places],
        "desirable": scored.desirable_N.tolist(),
        "kto": [round(value, 5) for value in scored.log_ratio_N.tolist()],
        "bag_of_words": by_words(prompt=True, completion=True),
        "words_of_prompt": by_words(prompt=True, completion=False),
        "words_of_completion": by_words(prompt=False, completion=True),
        "length": [longer_is_better * len(completion) for _, completion in texts],
    }


def _texts(path: Path) -> list[tuple[str, str]]:
    """Returns prompt and completion of each row of a shard of chats, as the dumb readers of the scorer read them."""
    columns = pq.read_table(path, columns=["prompt", "completion"])
    return [
        ("\n".join(message["content"] for message in prompt), completion[0]["content"])
        for prompt, completion in zip(columns["prompt"].to_pylist(), columns["completion"].to_pylist(), strict=True)
    ]
