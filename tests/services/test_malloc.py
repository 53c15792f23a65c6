"""Only `main` functions change how a process allocates memory; an import never does."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
POOL = "import pyarrow as pa; print('pool', pa.default_memory_pool().backend_name)"
MODULES = "app.main, app.server, app.cli.main, app.snapshots.service, worker.main, worker.tasks, migrations"
API_SERVER = "from app.server import create_tuned_app; create_tuned_app()"
WORKER = "import worker.main; from celery import signals; signals.worker_process_init.send(None)"


def pools_after(migrated, *steps: str) -> list[str]:
    """Runs these steps in one process and returns the memory pool of Arrow after each of them."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ARROW_")}
    program = "\n".join(f"{step}\n{POOL}" for step in steps)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, check=True, cwd=ROOT, env=environment | migrated.environment,
    )  # fmt: skip
    return [line.removeprefix("pool ") for line in done.stdout.splitlines() if line.startswith("pool ")]


def test_no_import_changes_the_allocator_of_arrow_and_the_api_server_returns_freed_memory(migrated):
    before, imported, serving = pools_after(migrated, "", f"import {MODULES}", API_SERVER)

    assert before == imported != "system"
    assert serving == "system"


def test_a_worker_returns_freed_memory(migrated):
    assert pools_after(migrated, WORKER) == ["system"]
