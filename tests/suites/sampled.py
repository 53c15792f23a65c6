"""WORKDIR as the scorer leaves it: the suites of a run, and what three models wrote for them."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from thumbwheel import wire
from thumbwheel.wire.recipe import recipe_of

from app.suites.documents import document_of, sha256_of
from app.suites.outcomes_file import MODELS
from app.suites.samples import SuiteSample, samples_of
from worker.training.files.sealed import seal_of, write_seal, write_sealed

#: Returns what a model writes for a sample; None if it was not sampled.
Writer = Callable[[SuiteSample], str | None]

COLUMNS = pa.schema(
    [
        ("source", pa.string()), ("suite", pa.string()), ("test", pa.int64()), ("prompt_label", pa.string()),
        ("group", pa.string()), ("prompt", pa.string()), ("model", pa.string()), ("decoding", pa.string()),
        ("completion", pa.string()), ("tokens", pa.int64()), ("finished", pa.bool_()),
        ("lp_candidate", pa.float64()), ("lp_shipped", pa.float64()), ("lp_ancestor", pa.float64()),
    ]
)  # fmt: skip


def workdir_with(
    folder: Path, suites: Sequence[wire.Suite], models: Mapping[str, Writer], *, stopped_by: str | None = None
) -> Path:
    """Fills `folder` with the inputs of the grading. A model of MODELS without a writer writes as the shipped one."""
    folder.mkdir(parents=True, exist_ok=True)
    items = [
        {"name": suite.name, "version": 1, "sha256": sha256_of(suite), "document": document_of(suite)}
        for suite in suites
    ]
    write_sealed(folder / "suites.json", json.dumps({"suites": items}).encode())
    write_sealed(folder / "recipe.json", recipe_of("cpu-demo", {}).model_dump_json().encode())
    write_sealed(folder / "scores.json", json.dumps({"samples": {"stopped_by": stopped_by}}).encode())
    samples(folder, suites, models)
    return folder


def samples(folder: Path, suites: Sequence[wire.Suite], models: Mapping[str, Writer]) -> None:
    """Writes samples.parquet: a held-out row, and the outputs of the models for the suites."""
    holdout = _row("holdout", None, None, None, "candidate", "from the holdout")
    rows = [holdout, *(row for suite in suites for row in _rows(suite, models))]
    pq.write_table(pa.Table.from_pylist(rows, schema=COLUMNS), folder / "samples.parquet")
    write_seal(seal_of(folder / "samples.parquet"), [folder / "samples.parquet"])


def _rows(suite: wire.Suite, models: Mapping[str, Writer]) -> list[dict[str, Any]]:
    return [
        _row("suite", suite.name, sample.number, sample.prompt.label, model, text)
        for sample in samples_of(suite)
        for model in MODELS
        if (text := models.get(model, models["shipped"])(sample)) is not None
    ]


def _row(source: str, suite: str | None, test: int | None, label: str | None, model: str, text: str) -> dict[str, Any]:
    row = {"source": source, "suite": suite, "test": test, "prompt_label": label, "group": f"{suite}/{test}/{label}"}
    rest = {"prompt": "{}", "model": model, "decoding": "greedy", "completion": text, "tokens": 9, "finished": True}
    return row | rest
