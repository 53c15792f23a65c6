"""What is measured, each time in a process of its own."""

import tempfile
import time
from itertools import islice
from pathlib import Path
from statistics import median
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy.orm import Session
from thumbwheel import wire

from app.arrow_queries import arrow
from app.database import transaction
from app.labels import service as labels
from app.labels.policies import service as policies
from app.project_setup import service as project_setup
from app.runs import service as runs
from app.snapshots import service as snapshots
from app.snapshots.prompts import service as prompts
from benchmarks.labels.work import PROJECT

ASKED = 30
#: Of which a row group of the copy is made: about 30 MB.
BATCHES = 16


def create(session: Session, _: int) -> dict[str, float]:
    """The project."""
    project_setup.create(session, wire.NewProject(project=PROJECT, base_model="/models/base"))
    return {}


def copy(session: Session, events: int) -> dict[str, float]:
    """Every column of the same rows into one parquet file, compressed as a snapshot's shards are."""
    with tempfile.TemporaryDirectory() as folder:
        path, writer, rows = Path(folder) / "events.parquet", None, 0
        batches = arrow(session, f"SELECT * FROM events WHERE project_id = '{PROJECT}'")
        while some := [_plain(batch) for batch in islice(batches, BATCHES)]:
            group = pa.Table.from_batches(some)
            writer = writer or pq.ParquetWriter(path, group.schema, compression="zstd", compression_level=3)
            writer.write_table(group)
            rows += len(group)
        assert writer is not None
        writer.close()
        assert rows == events
        return {"mb": path.stat().st_size / 1e6}


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [column.storage if isinstance(column, pa.ExtensionArray) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def ahead(session: Session, events: int) -> dict[str, float]:
    """What a server does once for each event, as it comes: prompts placed in groups, edits compared."""
    began = time.perf_counter()
    looked_at = prompts.place(session, PROJECT, events)
    placed = time.perf_counter() - began
    with labels.logs(session, PROJECT, policies.adopted(session, PROJECT).policy, events, keep=True) as logs:
        for number in range(len(logs)):
            logs.part(number)
    return {"prompts": looked_at, "seconds_placing": placed}


def build(session: Session, events: int) -> dict[str, float]:
    """Labelled, without duplicates, capped, split, written, stored and registered."""
    with tempfile.TemporaryDirectory() as folder:
        built = snapshots.build(
            session, PROJECT, wire.SnapshotRules(), "kto", watermark=events, seed=1, shipped_checkpoint_id=uuid4(),
            folder=Path(folder) / "snapshot",
        )  # fmt: skip
    rows = sum(shard["rows"] for shard in built.manifest["shards"])
    return {"rows": rows}


def ready(_: Session, __: int) -> dict[str, float]:
    """What GET …/readiness does, when the log was looked at."""
    with transaction() as looking:
        runs.look_ahead(looking, PROJECT)
    taken = []
    for _ in range(ASKED):
        began = time.perf_counter()
        with transaction() as asking:
            found = runs.readiness(asking, PROJECT)
        taken.append(time.perf_counter() - began)
    assert found.ready
    return {"milliseconds": 1000 * median(taken), "worst_milliseconds": 1000 * max(taken)}
