"""One condition on one desk: a WORKDIR as the service stages it, the training, and the measurement of its model."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import nan
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from thumbwheel.wire.recipe import Recipe, recipe_of, resolve

from app.durable import sha256_of, write_atomically
from app.statistics.measures import auroc
from benchmarks.kto_study.conditions import Condition
from benchmarks.kto_study.desk import Desk, Example, Size, tickets_of
from worker.demo import sampling
from worker.demo.language import reasons_against
from worker.demo.measure import kl_nats, measured
from worker.demo.sampling import SampledReply, log_probabilities
from worker.training.files.fingerprint import weights_fingerprint
from worker.training.train import train

PRESET = "cpu-demo"


def figures_of(workdir: Path, condition: Condition, desk: Desk, seed: int, size: Size) -> dict[str, Any]:
    """Trains `condition` in `workdir`, resuming an interrupted training, and returns the figures of the model."""
    if not (workdir / "job.json").exists():
        stage(workdir, condition, desk, seed)
    train(workdir)
    return {**_training(workdir), **_measured(workdir / "output", desk, seed, size)}


def stage(workdir: Path, condition: Condition, desk: Desk, seed: int) -> None:
    """Fills `workdir` as docs/workdir.md describes. job.json comes last."""
    rows = treated(desk.train, condition, seed)
    desirable = sum(row.desirable for row in rows)
    recipe = recipe_of(PRESET, {"seed": seed, **condition.recipe})
    recipe = resolve(recipe, desirable, len(rows) - desirable)
    (workdir / "snapshot").mkdir(parents=True, exist_ok=True)
    shard = write_shard(workdir / "snapshot" / "train-text.parquet", rows)
    job = {
        "run_id": f"{condition.name}-{seed}",
        "base_model": str(desk.base),
        "base_fingerprint": weights_fingerprint(desk.base),
        "reference": {"kind": "base"},
    }
    write_atomically(workdir / "snapshot" / "manifest.json", json.dumps({"shards": [shard]}).encode())
    write_atomically(workdir / "recipe.json", recipe.model_dump_json().encode())
    write_atomically(workdir / "job.json", json.dumps(job).encode())


def treated(rows: Sequence[Example], condition: Condition, seed: int) -> list[Example]:
    """Returns `rows` in their order, without those that `condition` drops and with its flipped labels, by the seed."""
    rng = Random(f"{condition.name} {seed}")
    by_class = {label: [index for index, row in enumerate(rows) if row.desirable == label] for label in (True, False)}
    flipped = {
        index for indices in by_class.values() for index in rng.sample(indices, round(condition.flipped * len(indices)))
    }
    dropped = set(rng.sample(by_class[True], round((1 - condition.keep_desirable) * len(by_class[True]))))
    return [
        replace(row, desirable=row.desirable != (index in flipped))
        for index, row in enumerate(rows)
        if index not in dropped
    ]


def write_shard(path: Path, rows: Sequence[Example], split: str = "train") -> dict[str, Any]:
    """Writes a shard of a snapshot and returns its entry of the manifest."""
    table = pa.table(
        {
            "prompt": [row.prompt for row in rows],
            "completion": [row.completion for row in rows],
            "label": [row.desirable for row in rows],
            "weight": [1.0] * len(rows),
            "reason": ["study"] * len(rows),
            "completion_id": [f"row-{index}" for index in range(len(rows))],
            "checkpoint_id": pa.nulls(len(rows), pa.string()),
            "position": list(range(len(rows))),
        }
    )
    pq.write_table(table, path)
    return {"path": path.name, "split": split, "format": "text", "rows": len(rows), "sha256": sha256_of(path)}


def _training(workdir: Path) -> dict[str, Any]:
    """Returns the figures of the training: rows, λ, steps, z0, warnings."""
    recipe = Recipe.model_validate_json((workdir / "recipe.json").read_bytes())
    summary = json.loads((workdir / "training.json").read_bytes())
    labels = pq.read_table(workdir / "snapshot" / "train-text.parquet", columns=["label"])["label"].to_pylist()
    steps = _lines(workdir / "metrics.jsonl")
    return {
        "rows_desirable": sum(labels),
        "rows_undesirable": len(labels) - sum(labels),
        "lambda_desirable": recipe.lambda_desirable,
        "lambda_undesirable": recipe.lambda_undesirable,
        "steps": summary["steps"],
        "z0_mean": _mean([step["z0"] for step in steps]),
        "z0_clamped_share": _mean([step["z0_clamped_share"] for step in steps]),
        "seconds": round(summary["seconds"], 1),
        "warnings": [line["code"] for line in _lines(workdir / "warnings.jsonl")],
    }


def _mean(values: Sequence[float | None]) -> float | None:
    """Returns the mean; None if the objective has no such figure."""
    present = [value for value in values if value is not None]
    return fmean(present) if present else None


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def _measured(output: Path, desk: Desk, seed: int, size: Size) -> dict[str, Any]:
    """Returns the demo's figures on tickets that no user saw, and the log-ratio's AUROC against the held-out votes."""
    model, base = sampling.load(output), sampling.load(desk.base)
    tickets = tickets_of(seed, size)
    figures = measured(model, tickets, seed)
    faults = Counter(
        reason for ticket, reply in zip(tickets, figures.replies, strict=True) for reason in
        reasons_against(ticket, reply.text)
    )  # fmt: skip
    held_out = [_draft(model, row) for row in desk.holdout]
    ratios = (log_probabilities(model, held_out) - log_probabilities(base, held_out)).numpy()
    desirable = np.array([row.desirable for row in desk.holdout])
    area = float(auroc(ratios, desirable)(np.ones((1, len(ratios))))[0]) if len(ratios) else nan
    return {
        "good_share": figures.good_share.value,
        "invented_refund_share": figures.invented_refund_share.value,
        "unclear_share": faults["unclear"] / len(tickets),
        "kl_nats": kl_nats(model, base, figures.replies).value,
        "length_ratio": figures.median_words / desk.base_figures["median_words"],
        "auroc": area,
    }


def _draft(desk: sampling.Desk, row: Example) -> SampledReply:
    """Returns a row as a sampled draft, with the end-of-text token that the trainer counts, too."""
    prompt_ids: list[int] = desk.tokenizer(row.prompt)["input_ids"]
    reply_ids: list[int] = desk.tokenizer(row.completion)["input_ids"]
    return SampledReply(prompt_ids, [*reply_ids, desk.tokenizer.eos_token_id], row.completion)
