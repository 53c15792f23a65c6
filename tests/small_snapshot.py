"""A small snapshot, as files or registered, for tests of the use of snapshots rather than of how they are built."""

import itertools
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from app import artifacts
from app.database import transaction
from app.durable import sha256_of
from app.snapshots.tables import Snapshot

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
START = datetime(2026, 3, 1, tzinfo=UTC)


def columns(chat: bool) -> pa.Schema:
    text = MESSAGES if chat else pa.string()
    return pa.schema(
        [
            pa.field("prompt", text, nullable=False),
            pa.field("completion", text, nullable=False),
            pa.field("label", pa.bool_(), nullable=False),
            pa.field("weight", pa.float64(), nullable=False),
            pa.field("reason", pa.string(), nullable=False),
            pa.field("completion_id", pa.string(), nullable=False),
            pa.field("checkpoint_id", pa.string()),
            pa.field("signal_time", pa.timestamp("us", tz="UTC"), nullable=False),
            pa.field("position", pa.int64(), nullable=False),
        ]
    )


def row(number: int, position: int, *, chat: bool) -> dict[str, Any]:
    prompt, completion = f"Question {number}?", f" Answer {number}."
    return {
        "prompt": [{"role": "user", "content": prompt}] if chat else prompt,
        "completion": [{"role": "assistant", "content": completion}] if chat else completion,
        "label": number % 2 == 0,
        "weight": 1.0,
        "reason": "thumbs",
        "completion_id": f"c{number}",
        "checkpoint_id": None,
        "signal_time": START + timedelta(hours=number),
        "position": position,
    }


def write(
    folder: Path, formats: Sequence[str] = ("text", "chat"), train: int = 8, holdout: int = 4, later: int = 0
) -> Mapping[str, str]:
    """Writes a snapshot whose splits have the given numbers of rows and returns its files as path → sha256.

    Formats alternate, and positions count up within each split.
    """
    folder.mkdir(parents=True)
    shards, counts, numbers = [], {}, itertools.count()
    for split, size in (("train", train), ("holdout", holdout), ("later", later)):
        rows = [
            (kind, row(next(numbers), position, chat=kind == "chat"))
            for position, kind in ((position, formats[position % len(formats)]) for position in range(size))
        ]
        counts[split] = {
            "desirable": sum(values["label"] for _, values in rows),
            "undesirable": sum(not values["label"] for _, values in rows),
        }
        for kind in formats:
            path = folder / f"{split}-{kind}.parquet"
            of_kind = [values for its, values in rows if its == kind]
            if not of_kind:
                continue
            pq.write_table(pa.Table.from_pylist(of_kind, schema=columns(kind == "chat")), path)
            sha256 = sha256_of(path)
            shards.append({"path": path.name, "split": split, "format": kind, "rows": len(of_kind), "sha256": sha256})
    manifest = {
        "project": "acme",
        "policy": {"name": "default", "version": 1, "sha256": "0" * 64},
        "counts": counts,
        "shards": shards,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, sort_keys=True))
    (folder / "card.md").write_text("# Snapshot of acme\n\nTwelve rows.\n")
    return {path.name: sha256_of(path) for path in sorted(folder.iterdir())}


def register(folder: Path, project: str = "acme") -> UUID:
    """Registers the snapshot in `folder`, as if a run had built it, and returns its id."""
    files = {path.name: artifacts.put(path).sha256 for path in sorted(folder.iterdir())}
    with transaction() as session:
        snapshot = Snapshot(
            project_id=project,
            sha256=files["manifest.json"],
            watermark=12,
            files=files,
            manifest=json.loads((folder / "manifest.json").read_text()),
        )
        session.add(snapshot)
        session.flush()
        return snapshot.id
