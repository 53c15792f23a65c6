"""A snapshot as files: parquet shards, pairs, members, manifest.json, card.md. The same rows give the same bytes.

Everything is written into a folder aside, flushed to disk, and renamed: it is there whole, or not at all.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from app.ahead import ahead
from app.artifacts import sha256_of
from app.snapshots.balance import Tally, warnings
from app.snapshots.candidates import Candidates
from app.snapshots.card import card
from app.snapshots.pairs import pairs_of_rows
from app.snapshots.selection import FORMATS, SPLITS, Format, Selection
from app.snapshots.split import Split
from app.snapshots.texts import Texts, strings

#: Rows of one row group; in memory at a time.
GROUP = 4096
PAIRS, MEMBERS, MANIFEST, CARD = "pairs.parquet", "members.parquet", "manifest.json", "card.md"

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_TEXT: Mapping[Format, pa.DataType] = {"text": pa.string(), "chat": _MESSAGES}
_PAIRS = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),
        pa.field("chosen", pa.int64(), nullable=False),
        pa.field("rejected", pa.int64(), nullable=False),
    ]
)
_MEMBERS = pa.schema(
    [
        pa.field("completion_id", pa.string(), nullable=False),
        pa.field("row", pa.string(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("number", pa.int64(), nullable=False),
    ]
)


def shard_schema(kind: Format) -> pa.Schema:
    """`position`: the row's place in its split, over both formats."""
    return pa.schema(
        [
            pa.field("prompt", _TEXT[kind], nullable=False),
            pa.field("completion", _TEXT[kind], nullable=False),
            pa.field("label", pa.bool_(), nullable=False),
            pa.field("weight", pa.float64(), nullable=False),
            pa.field("reason", pa.string(), nullable=False),
            pa.field("completion_id", pa.string(), nullable=False),
            pa.field("checkpoint_id", pa.string()),
            pa.field("signal_time", pa.timestamp("us", "UTC"), nullable=False),
            pa.field("position", pa.int64(), nullable=False),
        ]
    )


#: Called with a split, and with prompts (as they are in the shard), completions and group numbers of rows of it.
Watch = Callable[[Split, Sequence[Any], Sequence[str], NDArray[np.int64]], None]


@contextmanager
def folder_aside(folder: Path) -> Iterator[Path]:
    """A folder that takes the place of `folder` when the block ends, and vanishes when it raises. One at a time: what
    is left of one whose process was killed goes away."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(left, ignore_errors=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield aside
        _flush_folder(aside)
        aside.chmod(0o755)  # mkdtemp's 0700 would keep out a trainer of another user
        if folder.exists():
            shutil.rmtree(folder)  # of an attempt that ended before it was registered
        aside.rename(folder)
        _flush_folder(folder.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_rows(selection: Selection, candidates: Candidates, texts: Texts, folder: Path) -> dict[str, Any]:
    """Shards, pairs and members. What the manifest says of them."""
    rows = _Rows(selection, candidates, texts)
    shards, pairs, members = [], [], []
    for split, kind in product(SPLITS, FORMATS):
        which = selection.shard(split, kind)
        if not len(which):
            continue
        path = folder / f"{split}-{kind}.parquet"
        with parquet(path, shard_schema(kind), dictionaries=["reason", "checkpoint_id"]) as writer:
            parts = (which[start : start + GROUP] for start in range(0, len(which), GROUP))
            for group in ahead(rows.table(part, kind) for part in parts):
                writer.write_table(group, row_group_size=GROUP)
        entry = {"path": path.name, "split": split, "format": kind, "rows": len(which), "sha256": sha256_of(path)}
        shards.append(entry)
        prompt = candidates.prompt[selection.candidate[which]]
        pairs.append((path.name, pairs_of_rows(prompt, selection.label[which])))
        members.append((path.name, which))
    write_pairs(folder / PAIRS, pairs)
    write_members(folder / MEMBERS, rows.members(members))
    return {
        "shards": shards,
        "pairs": {
            "path": PAIRS,
            "sha256": sha256_of(folder / PAIRS),
            "train": selection.tallies["train"].pairs,
            "holdout": selection.tallies["holdout"].pairs,
        },
        "members": {"path": MEMBERS, "sha256": sha256_of(folder / MEMBERS)},
        "counts": {split: counts_of(selection.tallies[split]) for split in SPLITS},
        "reasons": {split: rows.reasons(split) for split in SPLITS},
        "drops": {reason: count for reason, count in sorted(selection.drops.items()) if count},
        "capped": selection.capped,
        "warnings": warnings(selection.tallies["holdout"]),
    }


def write_about(manifest: Mapping[str, Any], folder: Path) -> None:
    """The manifest, and its card."""
    _write_text(folder / MANIFEST, canonical(manifest))
    _write_text(folder / CARD, card(manifest))


def canonical(manifest: Mapping[str, Any]) -> str:
    """JSON with sorted keys: equal manifests are equal bytes."""
    return json.dumps(manifest, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_pairs(path: Path, pairs: Sequence[tuple[str, NDArray[np.int64]]]) -> None:
    """Which rows of which shard are compared with each other."""
    with parquet(path, _PAIRS, dictionaries=["shard"]) as writer:
        for shard, numbers in pairs:
            writer.write_table(
                pa.table([pa.array([shard] * len(numbers)), numbers[:, 0], numbers[:, 1]], schema=_PAIRS)
            )


def write_members(path: Path, members: pa.Table) -> None:
    """Of which completions something is in the snapshot, and where. Sorted: one is found without reading all."""
    ordered = members.sort_by([("completion_id", "ascending"), ("row", "ascending")])
    with parquet(path, _MEMBERS, dictionaries=["shard"]) as writer:
        writer.write_table(ordered, row_group_size=GROUP)


@contextmanager
def parquet(path: Path, schema: pa.Schema, *, dictionaries: Sequence[str]) -> Iterator[pq.ParquetWriter]:
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


def counts_of(tally: Tally) -> dict[str, float]:
    return {
        "desirable": tally.desirable,
        "undesirable": tally.undesirable,
        "weight_desirable": tally.weight_desirable,
        "weight_undesirable": tally.weight_undesirable,
    }


class _Rows:
    """Rows of the selection as Arrow."""

    def __init__(self, selection: Selection, candidates: Candidates, texts: Texts) -> None:
        self._selection = selection
        self._candidates = candidates
        self._texts = texts
        self._reasons = pa.array(candidates.reasons, pa.string())
        self._checkpoints = pa.array([*candidates.checkpoints, None], pa.string())
        self._position = np.empty(len(selection.split), dtype=np.int64)
        for split in range(len(SPLITS)):
            of_split = np.flatnonzero(selection.split == split)
            self._position[of_split] = np.arange(len(of_split))

    def table(self, rows: NDArray[np.int64], kind: Format) -> pa.Table:
        chosen, all_ = self._selection.candidate[rows], self._candidates
        prompt = all_.prompt[chosen]
        prompts = self._texts.read(all_.prompts.place[prompt], all_.prompts.length[prompt])
        completions = strings(self._texts.read(all_.place[chosen], all_.length[chosen]))
        schema = shard_schema(kind)
        return pa.table(
            [
                strings(prompts) if kind == "text" else pa.array(map(msgspec.json.decode, prompts), _MESSAGES),
                completions if kind == "text" else _answers(completions),
                pa.array(self._selection.label[rows]),
                pa.array(self._selection.weight[rows]),
                self._reasons.take(pa.array(all_.reason[chosen])),
                self._row_ids(chosen),
                self._checkpoints.take(pa.array(all_.checkpoint[all_.completion[chosen]] % len(self._checkpoints))),
                pa.array(all_.moment[chosen]).cast(pa.timestamp("us", "UTC")),
                pa.array(self._position[rows]),
            ],
            schema=schema,
        )

    def members(self, shards: Sequence[tuple[str, NDArray[np.int64]]]) -> pa.Table:
        candidate, row = self._selection.cluster
        shard = np.full(len(self._selection.candidate), -1, dtype=np.int8)
        number = np.empty(len(self._selection.candidate), dtype=np.int64)
        for place, (_, which) in enumerate(shards):
            shard[which], number[which] = place, np.arange(len(which))
        return pa.table(
            [
                self._ids(candidate),
                self._row_ids(self._selection.candidate[row]),
                pa.array([path for path, _ in shards], pa.string()).take(pa.array(shard[row])),
                pa.array(number[row]),
            ],
            schema=_MEMBERS,
        )

    def reasons(self, split: Split) -> dict[str, int]:
        """How many rows of the split have each."""
        of_split = self._selection.candidate[self._selection.split == SPLITS.index(split)]
        counted = np.bincount(self._candidates.reason[of_split], minlength=len(self._candidates.reasons))
        named = zip(self._candidates.reasons, counted.tolist(), strict=True)
        return dict(sorted((reason, count) for reason, count in named if count))

    def _ids(self, candidate: NDArray[np.integer[Any]]) -> pa.Array:
        return self._candidates.ids.take(pa.array(self._candidates.completion[candidate])).cast(pa.string())

    def _row_ids(self, candidate: NDArray[np.integer[Any]]) -> pa.Array:
        """The completion's, and of a text written in its place also what stands for that."""
        edit = self._candidates.edit[candidate]
        ids = self._ids(candidate)
        written = pa.array([f"#edit:{one:016x}" if one else "" for one in edit.tolist()], pa.string())
        return pc.binary_join_element_wise(ids, written, "")


def _answers(completions: pa.Array) -> pa.Array:
    """Each as a chat of one message."""
    message = pa.StructArray.from_arrays(
        [pa.array(["assistant"] * len(completions)), completions], fields=list(_MESSAGES.value_type)
    )
    return pa.ListArray.from_arrays(pa.array(np.arange(len(completions) + 1, dtype=np.int32)), message).cast(_MESSAGES)


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
