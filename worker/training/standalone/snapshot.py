"""Writes train and holdout as a snapshot folder, as the service would stage it (docs/workdir.md)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from thumbwheel.chat_messages import is_plain, messages_of
from thumbwheel.row_checks import REASONS
from thumbwheel.wire.recipe import PairsFrom

from app.durable import sha256_of
from app.labels.kept_spans import KeptParts
from app.snapshots.balance.enough import ClassTally
from worker.training.files.sealed import write_sealed
from worker.training.standalone.dataset import Dataset, DatasetSide
from worker.training.standalone.examples import VOTES, Dropped, Example

#: Rows of one row group.
GROUP = 2048


def write_snapshot(folder: Path, data: Dataset, about: Mapping[str, Any], *, pairs_from: PairsFrom | None) -> None:
    """Writes shards and manifest into `folder`, and the pairs that `pairs_from` names. Equal rows give equal bytes.

    about   further fields of the manifest
    """
    shards: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    counts = {}
    for split, side in (("train", data.train), ("holdout", data.holdout)):
        rows_of = {
            kind: [i for i, row in enumerate(side.examples) if isinstance(row.prompt, str) == (kind == "text")]
            for kind in ("text", "chat")
        }
        for kind, rows in rows_of.items():
            if rows:
                path = folder / f"{split}-{kind}.parquet"
                _write_shard(path, side, rows)
                shard = {"path": path.name, "split": split, "format": kind, "rows": len(rows)}
                shards.append({**shard, "sha256": sha256_of(path)})
        if pairs_from:
            at = {index: (kind, row) for kind, rows in rows_of.items() for row, index in enumerate(rows)}
            pairs += [
                {
                    "split": split,
                    "shard": f"{split}-{at[pair.chosen][0]}.parquet",
                    "chosen": at[pair.chosen][1],
                    "rejected": at[pair.rejected][1],
                    "source": pair.source,
                    **dict(zip(VOTES, pair.votes, strict=True)),
                }
                for pair in side.pairs(pairs_from)
            ]
        counts[split] = _counts(side.tally)
    manifest = {**about, "shards": shards, "counts": counts, "drops": {k: n for k, n in data.dropped.items() if n}}
    if pairs_from:
        path = folder / "pairs.parquet"
        _write_pairs(path, pairs)
        numbers = {split: sum(pair["split"] == split for pair in pairs) for split in ("train", "holdout")}
        manifest["pairs"] = {"path": path.name, "sha256": sha256_of(path), **numbers}
    if data.faulty:
        lines = [json.dumps(_dropped_line(split, row), ensure_ascii=False) for split, row in data.faulty]
        write_sealed(folder / "dropped.jsonl", ("\n".join(lines) + "\n").encode())
    content = json.dumps(manifest, sort_keys=True, indent=1, ensure_ascii=False)
    write_sealed(folder / "manifest.json", f"{content}\n".encode())


def _dropped_line(split: str, dropped: Dropped) -> dict[str, Any]:
    meaning, remedy = REASONS[dropped.fault.reason]
    location = {"split": split, "shard": None, "row": None, "completion_id": dropped.name}
    return {**location, **dropped.fault._asdict(), "meaning": meaning, "remedy": remedy}


def _write_shard(path: Path, side: DatasetSide, rows: Sequence[int]) -> None:
    """Writes a shard of the side's examples with the indices `rows`, which are all text or all chat."""
    import pyarrow as pa

    from app.snapshots.files.message_columns import TOOLS, column_type, tools_text
    from app.snapshots.files.parquet import KEPT, KEPT_TYPE

    examples = [side.examples[index] for index in rows]
    is_chat = not isinstance(examples[0].prompt, str)
    rich = not all(is_plain(row.prompt) and is_plain(row.completion) for row in examples)
    text = column_type("chat" if is_chat else "text", rich=rich)
    columns: dict[str, tuple[Any, list[Any]]] = {
        "prompt": (text, [messages_of(row.prompt) if is_chat else row.prompt for row in examples]),
        "completion": (text, [row.completion for row in examples]),
        "label": (pa.bool_(), [row.desirable for row in examples]),
        "weight": (pa.float64(), [row.weight for row in examples]),
        "reason": (pa.string(), ["file"] * len(examples)),
        "completion_id": (pa.string(), [row.name for row in examples]),
        "checkpoint_id": (pa.string(), [None] * len(examples)),
        "position": (pa.int64(), list(rows)),
    }
    if any(row.labels for row in examples):
        kind = pa.list_(pa.struct([("name", pa.string()), ("value", pa.bool_())]))
        columns["labels"] = (kind, [_labels(row) for row in examples])
    if any(row.spans for row in examples):
        kind = pa.list_(pa.struct([("start", pa.int64()), ("end", pa.int64()), ("weight", pa.float64())]))
        columns["spans"] = (kind, [[span._asdict() for span in row.spans or ()] for row in examples])
    if any(row.kept for row in examples):
        columns[KEPT] = (KEPT_TYPE, [None if row.kept is None else _kept(row.kept) for row in examples])
    if rich:
        columns[TOOLS] = (pa.string(), [tools_text(row.prompt) for row in examples])
    _write_table(path, columns)


def _kept(kept: KeptParts) -> dict[str, Any]:
    return {"spans": [{"start": start, "end": end} for start, end in kept.spans], "ending": kept.ending}


def _labels(example: Example) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in (example.labels or {}).items()]


def _write_pairs(path: Path, pairs: Sequence[Mapping[str, Any]]) -> None:
    import pyarrow as pa

    kinds = {"shard": pa.string(), "chosen": pa.int64(), "rejected": pa.int64(), "source": pa.string()}
    kinds |= dict.fromkeys(VOTES, pa.int32())
    _write_table(path, {name: (kind, [pair[name] for pair in pairs]) for name, kind in kinds.items()})


def _write_table(path: Path, columns: Mapping[str, tuple[Any, list[Any]]]) -> None:
    import pyarrow as pa

    from app.snapshots.files.parquet import parquet

    schema = pa.schema([(name, kind) for name, (kind, _) in columns.items()])
    table = pa.table({name: pa.array(values, kind) for name, (kind, values) in columns.items()}, schema=schema)
    with parquet(path, schema) as writer:
        writer.write_table(table, row_group_size=GROUP)


def _counts(tally: ClassTally) -> dict[str, float]:
    return {
        "desirable": tally.desirable,
        "undesirable": tally.undesirable,
        "weight_desirable": tally.weight_desirable,
        "weight_undesirable": tally.weight_undesirable,
    }
