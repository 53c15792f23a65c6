"""Rows of samples.parquet for tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from app.checkpoints.samples import files
from app.snapshots.files.prompt_key import prompt_json, prompt_key


def held_out(prompt: Any, replies: Sequence[str], decoding: str = "greedy") -> list[dict[str, Any]]:
    """Returns the rows of one prompt. `replies`: of candidate, shipped checkpoint and ancestor."""
    lp = dict.fromkeys(("lp_candidate", "lp_shipped", "lp_ancestor"), -3.5 if decoding == "sampled" else None)
    return [
        {
            "source": "holdout", "suite": None, "test": None, "prompt_label": None, "group": prompt_key(prompt).hex(),
            "prompt": prompt_json(prompt), "model": model, "decoding": decoding, "completion": reply,
            "tokens": len(reply.split()) + 1, "finished": True, **lp,
        }
        for model, reply in zip(files.MODELS, replies, strict=True)
    ]  # fmt: skip


def of_suite(suite: str, test: int, prompt: Any, replies: Sequence[str]) -> list[dict[str, Any]]:
    own = {"source": "suite", "suite": suite, "test": test, "prompt_label": "plain", "group": f"{suite}/{test}/plain"}
    return [{**row, **own} for row in held_out(prompt, replies)]


def replayed(
    prompt: Any, answer: str, replies: Sequence[str], *, completion_id: str, liked: bool = False, split: str = "holdout"
) -> list[dict[str, Any]]:
    """Returns the rows of the prompt of an answer that users judged."""
    own = {
        "source": "liked" if liked else "disliked", "completion_id": completion_id, "answer": answer, "split": split,
    }  # fmt: skip
    return [{**row, **own} for row in held_out(prompt, replies)]


def written(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    files.write(path, pa.Table.from_pylist(list(rows), files.SCHEMA))
    return path
