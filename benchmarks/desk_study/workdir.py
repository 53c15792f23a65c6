"""Stages a WORKDIR for the trainer as docs/workdir.md describes, and reads the figures of the finished training."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from thumbwheel.wire.recipe import Recipe

from app.durable import sha256_of, write_atomically
from worker.training.files.fingerprint import weights_fingerprint

SHARD = "train-text.parquet"

#: First and last + 1 character of a part of a completion, and the weight of its tokens.
Span = tuple[int, int, float]
#: Indices of the chosen and the rejected row.
RowPair = tuple[int, int]


@dataclass(frozen=True)
class Example:
    prompt: str
    completion: str
    desirable: bool
    weight: float = 1.0
    spans: Sequence[Span] = ()


def stage(
    workdir: Path, run_id: str, base: Path, rows: Sequence[Example], recipe: Recipe, pairs: Sequence[RowPair] = ()
) -> None:
    """Fills `workdir` with a job on the resolved `recipe`. job.json comes last."""
    snapshot = workdir / "snapshot"
    snapshot.mkdir(parents=True, exist_ok=True)
    manifest: dict[str, Any] = {"shards": [write_shard(snapshot / SHARD, rows)]}
    if pairs:
        manifest["pairs"] = _write_pairs(snapshot / "pairs.parquet", pairs)
    job = {
        "run_id": run_id,
        "base_model": str(base),
        "base_fingerprint": weights_fingerprint(base),
        "reference": {"kind": "base"},
    }
    write_atomically(snapshot / "manifest.json", json.dumps(manifest).encode())
    write_atomically(workdir / "recipe.json", recipe.model_dump_json().encode())
    write_atomically(workdir / "job.json", json.dumps(job).encode())


def write_shard(path: Path, rows: Sequence[Example], split: str = "train") -> dict[str, Any]:
    """Writes a shard of a snapshot and returns its entry of the manifest."""
    columns: dict[str, Any] = {
        "prompt": [row.prompt for row in rows],
        "completion": [row.completion for row in rows],
        "label": [row.desirable for row in rows],
        "weight": [row.weight for row in rows],
        "reason": ["study"] * len(rows),
        "completion_id": [f"row-{index}" for index in range(len(rows))],
        "checkpoint_id": pa.nulls(len(rows), pa.string()),
        "position": list(range(len(rows))),
    }
    if any(row.spans for row in rows):
        columns["spans"] = [
            [{"start": start, "end": end, "weight": weight} for start, end, weight in row.spans] for row in rows
        ]
    pq.write_table(pa.table(columns), path)
    return {"path": path.name, "split": split, "format": "text", "rows": len(rows), "sha256": sha256_of(path)}


def _write_pairs(path: Path, pairs: Sequence[RowPair]) -> dict[str, Any]:
    table = pa.table(
        {
            "shard": [SHARD] * len(pairs),
            "chosen": [chosen for chosen, _ in pairs],
            "rejected": [rejected for _, rejected in pairs],
            "source": ["compared"] * len(pairs),
        }
    )
    pq.write_table(table, path)
    return {"path": path.name, "sha256": sha256_of(path)}


def training_figures(workdir: Path) -> dict[str, Any]:
    """Returns the figures of the training: rows, λ, steps, tokens that the policy read, z0, seconds, warnings."""
    recipe = Recipe.model_validate_json((workdir / "recipe.json").read_bytes())
    summary = json.loads((workdir / "training.json").read_bytes())
    labels = pq.read_table(workdir / "snapshot" / SHARD, columns=["label"])["label"].to_pylist()
    steps = _lines(workdir / "metrics.jsonl")
    return {
        "rows_desirable": sum(labels),
        "rows_undesirable": len(labels) - sum(labels),
        "lambda_desirable": recipe.lambda_desirable,
        "lambda_undesirable": recipe.lambda_undesirable,
        "steps": summary["steps"],
        "tokens": round(sum(step["tokens_per_second"] * step["seconds"] for step in steps)),
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
