"""A snapshot as files: parquet shards and pairs, manifest.json, card.md. The same rows give the same bytes.

Everything is written into a folder aside, flushed to disk, and renamed: it is there whole, or not at all.
"""

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import IO, Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from app.artifacts import sha256_of
from app.labels.service import LabelledRow
from app.snapshots.balance import Tally, warnings
from app.snapshots.card import card
from app.snapshots.selection import Chosen, Format, Selection, pairs_in
from app.snapshots.split import Split

#: Rows of one row group; in memory at a time.
GROUP = 2048
PAIRS = "pairs.parquet"

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_TEXT: Mapping[Format, pa.DataType] = {"text": pa.string(), "chat": _MESSAGES}


class TextFile:
    """The texts of the rows while they wait for their order: on disk, so that memory holds only where they lie."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._end = 0

    def keep(self, row: LabelledRow) -> int:
        """Append prompt and completion; where they lie."""
        place = self._end
        self._end += self._file.write(json.dumps([row.prompt, row.completion]).encode() + b"\n")
        return place

    def read(self, place: int) -> tuple[Any, str]:
        self._file.seek(place)
        prompt, completion = json.loads(self._file.readline())
        return prompt, completion


@contextmanager
def text_file(near: Path) -> Iterator[TextFile]:
    """A file without a name on the disk of `near`: it vanishes with the block, or with the process."""
    near.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=near.parent) as file:
        yield TextFile(file)


def write(selection: Selection, texts: TextFile, about: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Write the snapshot of `selection` into `folder`, in place of what is there. The manifest.

    about  what the manifest says beside what is counted here: policy, watermark, rules, …
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        shards, pairs = [], []
        for split, kind in product(get_args(Split), get_args(Format)):
            if rows := selection.shard(split, kind):
                shard = _write_shard(aside, split, kind, rows, texts)
                shards.append(shard)
                pairs += [{"shard": shard["path"], "chosen": up, "rejected": down} for up, down in pairs_in(rows)]
        manifest = {
            **about,
            "shards": shards,
            "pairs": {
                "path": PAIRS,
                "sha256": _write_pairs(aside / PAIRS, pairs),
                "train": selection.train.pairs,
                "holdout": selection.holdout.pairs,
            },
            "counts": {"train": _counts(selection.train), "holdout": _counts(selection.holdout)},
            "reasons": _by_reason(selection.rows),
            "drops": {reason: count for reason, count in sorted(selection.drops.items()) if count},
            "capped": selection.capped,
            "warnings": warnings(selection.holdout),
        }
        _write_text(aside / "manifest.json", canonical(manifest))
        _write_text(aside / "card.md", card(manifest))
        _flush_folder(aside)
        aside.chmod(0o755)  # mkdtemp's 0700 would keep out a trainer of another user
        if folder.exists():
            shutil.rmtree(folder)  # of an attempt that ended before it was registered
        aside.rename(folder)
        _flush_folder(folder.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return manifest


def canonical(manifest: Mapping[str, Any]) -> str:
    """JSON with sorted keys: equal manifests are equal bytes."""
    return json.dumps(manifest, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _write_shard(folder: Path, split: Split, kind: Format, rows: Sequence[Chosen], texts: TextFile) -> dict[str, Any]:
    path = folder / f"{split}-{kind}.parquet"
    schema = pa.schema(
        [
            pa.field("prompt", _TEXT[kind], nullable=False),
            pa.field("completion", _TEXT[kind], nullable=False),
            pa.field("label", pa.bool_(), nullable=False),
            pa.field("weight", pa.float64(), nullable=False),
            pa.field("reason", pa.string(), nullable=False),
            pa.field("completion_id", pa.string(), nullable=False),
            pa.field("checkpoint_id", pa.string()),
            pa.field("position", pa.int64(), nullable=False),
        ]
    )
    with _parquet(path, schema, dictionaries=["reason", "checkpoint_id"]) as writer:
        for start in range(0, len(rows), GROUP):
            group = rows[start : start + GROUP]
            said = [texts.read(row.place) for row in group]
            columns = {
                "prompt": [prompt for prompt, _ in said],
                "completion": [_completion(kind, completion) for _, completion in said],
                "label": [row.label for row in group],
                "weight": [row.weight for row in group],
                "reason": [row.reason for row in group],
                "completion_id": [row.completion_id for row in group],
                "checkpoint_id": [None if row.checkpoint_id is None else str(row.checkpoint_id) for row in group],
                "position": [row.position for row in group],
            }
            writer.write_table(pa.table(columns, schema=schema), row_group_size=GROUP)
    return {"path": path.name, "split": split, "format": kind, "rows": len(rows), "sha256": sha256_of(path)}


def _write_pairs(path: Path, pairs: Sequence[Mapping[str, Any]]) -> str:
    """Which rows of which shard are compared with each other. The file's sha256."""
    schema = pa.schema(
        [
            pa.field("shard", pa.string(), nullable=False),
            pa.field("chosen", pa.int64(), nullable=False),
            pa.field("rejected", pa.int64(), nullable=False),
        ]
    )
    with _parquet(path, schema, dictionaries=["shard"]) as writer:
        writer.write_table(pa.Table.from_pylist(list(pairs), schema=schema))
    return sha256_of(path)


@contextmanager
def _parquet(path: Path, schema: pa.Schema, *, dictionaries: Sequence[str]) -> Iterator[pq.ParquetWriter]:
    # Every option that reaches the bytes is said here, not left to the defaults of a version.
    with (
        path.open("wb") as file,
        pq.ParquetWriter(
            file, schema, version="2.6", data_page_version="1.0", compression="zstd", compression_level=3,
            use_dictionary=dictionaries, write_statistics=True, store_schema=False,
        ) as writer,
    ):  # fmt: skip
        yield writer
    _flush_file(path)


def _completion(kind: Format, completion: str) -> str | list[dict[str, str]]:
    return completion if kind == "text" else [{"role": "assistant", "content": completion}]


def _counts(tally: Tally) -> dict[str, float]:
    return {
        "desirable": tally.desirable,
        "undesirable": tally.undesirable,
        "weight_desirable": tally.weight_desirable,
        "weight_undesirable": tally.weight_undesirable,
    }


def _by_reason(rows: Sequence[Chosen]) -> dict[str, dict[str, int]]:
    counted = Counter((row.split, row.reason) for row in rows)
    return {
        split: {reason: count for (of, reason), count in sorted(counted.items()) if of == split}
        for split in get_args(Split)
    }


def _write_text(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")
    _flush_file(path)


def _flush_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _flush_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
