"""Files of rows in every format, and requests over them, for the tests of training without a service."""

import csv
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.trainer import tiny
from worker.training.standalone.request import TrainingRequest

SMALL: dict[str, Any] = {
    "batch_size": 8, "micro_batch_size": 4, "max_length": 64, "learning_rate": 1e-2, "save_every_steps": 2,
    "lora": {"rank": 4, "alpha": 8}, "evaluation": {"kl_prompts": 2, "kl_max_new_tokens": 4, "bootstrap": 100},
    "drift": {"checks": 2, "prompts": 2, "max_new_tokens": 4},
}  # fmt: skip

Rows = Sequence[Mapping[str, Any]]


def written(path: Path, rows: Rows) -> Path:
    """Writes `rows` in the format of the suffix of `path` and returns `path`."""
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
        return path
    if kind == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return path
    text = json.dumps(rows) if kind == "json" else "".join(json.dumps(row) + "\n" for row in rows)
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def pairs(count: int = 24) -> list[dict[str, Any]]:
    return [
        {"prompt": f"question {n}:", "chosen": f" thanks {n} times", "rejected": f" wait {n} days"}
        for n in range(count)
    ]


def request(folder: Path, base: Path, rows: Rows | None, *, out: str = "out", **options: Any) -> TrainingRequest:
    """Returns a request for a small training on `rows` in `folder`; `options` are fields of it or of the recipe."""
    data = [written(folder / "rows.jsonl", tiny.text_rows(40) if rows is None else rows)]
    fields = {name: options.pop(name) for name in TrainingRequest.model_fields if name in options}
    needed = {"model": base, "data": data, "out": folder / out, "changes": {**SMALL, **options}}
    return TrainingRequest(**{**needed, **fields})
