"""Builds a snapshot of the project `bench` in a process that a test can kill.

Usage: ``python -m tests.snapshots.building FOLDER``
"""

import sys
from pathlib import Path
from uuid import UUID

from thumbwheel import wire

from app.database import transaction
from app.feedback import service as feedback
from app.snapshots import service as snapshots
from benchmarks.labels.work import PROJECT

RULES = wire.SnapshotRules(minimum_per_class=20)


def build(folder: Path) -> snapshots.Built:
    with transaction() as session:
        watermark = feedback.watermark(session, PROJECT)
        return snapshots.build(
            session,
            PROJECT,
            RULES,
            "kto",
            watermark=watermark,
            seed=1,
            shipped_checkpoint_id=UUID(int=1),
            folder=folder,
        )


if __name__ == "__main__":
    build(Path(sys.argv[1]))
