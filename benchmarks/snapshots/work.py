"""The measured work, each time in a process of its own."""

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

REQUESTS = 30
#: Batches in a row group of the copy, about 30 MB.
BATCHES = 16


def create(session: Session, _: int) -> dict[str, float]:
    """Creates the project."""
    project_setup.create(session, wire.NewProject(project=PROJECT, base_model="/models/base", suites=[]))
    return {}


def copy(session: Session, events: int) -> dict[str, float]:
    """Copies every column of the same rows into one parquet file, compressed as a snapshot's shards are."""
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
    """Places prompts in groups and compares edits, as a server does once for each new event."""
    began = time.perf_counter()
    prompt_count = prompts.place(session, PROJECT, events)
    seconds = time.perf_counter() - began
    with labels.logs(session, PROJECT, policies.adopted(session, PROJECT).policy, events, keep=True) as logs:
        for number in range(len(logs)):
            logs.part(number)
    return {"prompts": prompt_count, "seconds_placing": seconds}


def build(session: Session, events: int) -> dict[str, float]:
    """Builds a snapshot: labels, removes duplicates, caps, splits, writes, stores and registers its rows."""
    with tempfile.TemporaryDirectory() as folder:
        built = snapshots.build(
            session, PROJECT, wire.SnapshotRules(), "kto", watermark=events, seed=1, shipped_checkpoint_id=uuid4(),
            folder=Path(folder) / "snapshot",
        )  # fmt: skip
    rows = sum(shard["rows"] for shard in built.manifest["shards"])
    return {"rows": rows}


def ready(_: Session, __: int) -> dict[str, float]:
    """Computes the answer of GET …/readiness repeatedly, after the new events were read."""
    with transaction() as session:
        runs.look_ahead(session, PROJECT)
    seconds = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        with transaction() as session:
            readiness = runs.readiness(session, PROJECT)
        seconds.append(time.perf_counter() - began)
    assert readiness.ready
    return {"milliseconds": 1000 * median(seconds), "worst_milliseconds": 1000 * max(seconds)}
