"""Only `main` functions change how a process allocates memory; an import never does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
POOL = "import pyarrow as pa; print(pa.default_memory_pool().backend_name)"
MAINS = {
    "API server": "from app.server import create_tuned_app; create_tuned_app()",
    "worker": "import worker.main; from celery import signals; signals.worker_process_init.send(None)",
}


def pool_after(migrated, code: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ARROW_")}
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{POOL}"],
        capture_output=True, text=True, check=True, cwd=ROOT, env=environment | migrated.environment,
    )  # fmt: skip
    return done.stdout.splitlines()[-1]


def test_no_import_changes_the_allocator_of_arrow(migrated):
    modules = "app.main, app.server, app.cli.main, app.snapshots.service, worker.main, worker.tasks, migrations"

    assert pool_after(migrated, f"import {modules}") == pool_after(migrated, "") != "system"


@pytest.mark.parametrize("main", MAINS.values(), ids=MAINS)
def test_processes_that_read_whole_logs_return_freed_memory(migrated, main):
    assert pool_after(migrated, main) == "system"
