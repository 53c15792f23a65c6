"""`thumbwheel doctor`: what this machine and its settings can do, and what is wrong with them."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from app import settings
from app.errors import ThumbwheelError
from app.settings import Settings

LEAST_PYTHON = (3, 11)
LOW_DISK_GB = 2  # one checkpoint of a small model with its training state
SECONDS = 5
TORCH_SECONDS = 120
STYLE = {"ok": "green", "note": "yellow", "wrong": "red"}

#: Prints one line for people; asked of another process, since nothing under `app` imports torch.
ASK_TORCH = """
import torch
gpu = torch.cuda.is_available()
names = ", ".join(torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())) if gpu else "no GPU"
print(f"torch {torch.__version__}, {names}")
"""


@dataclass(frozen=True)
class Finding:
    """`note` is worth knowing and no fault, `wrong` makes the command fail; `said` then holds the remedy."""

    check: str
    state: Literal["ok", "note", "wrong"]
    said: str


def python_version() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < LEAST_PYTHON:
        return Finding("Python", "wrong", f"{version} is too old: 3.11 or newer is needed")
    return Finding("Python", "ok", version)


def database(chosen: Settings) -> Finding:
    """Whether Postgres answers and has the tables of this code; without a URL, whether an embedded one could run."""
    import psycopg

    from app.cli import migrate
    from app.services.programs import postgres_programs

    if chosen.database_url is None:
        return Finding("Postgres", "ok", f"embedded by `thumbwheel up`, from {postgres_programs(chosen.postgres_bin)}")
    url = chosen.database_url.replace("postgresql+psycopg://", "postgresql://", 1)
    try:
        with psycopg.connect(url, connect_timeout=SECONDS) as connection:
            version = connection.info.server_version // 10_000
    except psycopg.Error as error:
        first = str(error).strip().splitlines()[0]
        return Finding(
            "Postgres", "wrong", f"does not answer ({first}): look at THUMBWHEEL_DATABASE_URL and the server"
        )
    at, newest = migrate.revision_of(chosen.database_url), migrate.newest()
    if at != newest:
        return Finding("Postgres", "wrong", f"{version}, tables at {at}, not at {newest}: run `thumbwheel migrate`")
    return Finding("Postgres", "ok", f"{version}, tables up to date")


def broker(chosen: Settings) -> Finding:
    import redis

    from app.services.programs import valkey_program

    if chosen.redis_url is None:
        return Finding("Redis", "ok", f"embedded by `thumbwheel up`, from {valkey_program(chosen.valkey_server)}")
    try:
        with redis.Redis.from_url(
            str(chosen.redis_url), socket_timeout=SECONDS, socket_connect_timeout=SECONDS
        ) as client:
            version = client.info("server")["redis_version"]
    except redis.RedisError as error:
        return Finding("Redis", "wrong", f"does not answer ({error}): look at THUMBWHEEL_REDIS_URL and the server")
    return Finding("Redis", "ok", f"speaks {version}")


def data_folder(chosen: Settings) -> Finding:
    """Whether the data folder, or the nearest one above it that exists, can be written and has space."""
    folder = chosen.data_dir.absolute()
    fault = _reason_unwritable(folder)
    if fault is not None:
        return Finding("Data folder", "wrong", f"{fault}: set THUMBWHEEL_DATA_DIR to another one")
    free_gb = next(shutil.disk_usage(path).free for path in (folder, *folder.parents) if path.exists()) / 1024**3
    return Finding("Data folder", "ok", f"{folder}, {free_gb:.0f} GB free")


def artifact_store(chosen: Settings) -> Finding:
    """Whether artifacts can be kept. A folder is looked at, a bucket tried out."""
    from app import artifacts

    if chosen.artifacts_url is None:
        return Finding("Artifacts", "ok", "in the data folder")
    if artifacts.in_folder():
        fault = _reason_unwritable(Path(artifacts.location()))
        if fault is not None:
            return Finding("Artifacts", "wrong", f"{fault}: set THUMBWHEEL_ARTIFACTS_URL to another one")
        return Finding("Artifacts", "ok", f"in {artifacts.location()}")
    artifacts.try_out()
    if artifacts.bucket_keeps_versions():
        kept = "erased files stay there as old versions: turn versioning off, or let a rule of the bucket delete them"
        return Finding("Artifacts", "note", f"{artifacts.location()} takes, gives and deletes, and {kept}")
    return Finding("Artifacts", "ok", f"{artifacts.location()} takes, gives and deletes")


def _reason_unwritable(folder: Path) -> str | None:
    """What is wrong with the folder, or with the nearest one above it that exists."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return f"{existing} cannot be written"
    free_gb = shutil.disk_usage(existing).free / 1024**3
    if free_gb < LOW_DISK_GB:
        return f"{folder}: only {free_gb:.1f} GB free, {LOW_DISK_GB} are needed"
    return None


def torch(_chosen: Settings) -> Finding:
    """What trains here. A machine without torch can still serve the API."""
    try:
        importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return Finding("Training", "note", "no torch here: runs need a worker elsewhere (extra `worker`)")
    try:
        done = subprocess.run(
            [sys.executable, "-c", ASK_TORCH], check=False, capture_output=True, text=True, timeout=TORCH_SECONDS
        )
    except subprocess.TimeoutExpired:
        return Finding("Training", "wrong", f"torch does not load within {TORCH_SECONDS} s: look at the GPU's driver")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Finding("Training", "wrong", f"torch does not load ({last}): install the extra `worker` anew")
    said = done.stdout.strip()
    if Path("/proc/driver/nvidia/version").exists() and said.endswith("no GPU"):
        return Finding("Training", "wrong", f"{said}, though the driver is there: this torch is built without CUDA")
    return Finding("Training", "ok", said)


CHECKS: dict[str, Callable[[Settings], Finding]] = {
    "Postgres": database,
    "Redis": broker,
    "Data folder": data_folder,
    "Artifacts": artifact_store,
    "Training": torch,
}


def examine() -> list[Finding]:
    """Every finding, in the order in which one would mend them."""
    findings = [python_version()]
    try:
        chosen = settings.current()
    except ThumbwheelError as error:
        return [*findings, Finding("Settings", "wrong", error.message)]
    findings.append(Finding("Settings", "ok", "readable"))
    for name, check in CHECKS.items():
        try:
            findings.append(check(chosen))
        except ThumbwheelError as error:
            findings.append(Finding(name, "wrong", error.message))
    return findings


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")] = False,
) -> None:
    """Say what this machine and its settings can do, and what is wrong. Exit code 1 when something is."""
    findings = examine()
    if as_json:
        typer.echo(json.dumps({"findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table("", "check", "finding", box=None)
        for finding in findings:
            table.add_row(f"[{STYLE[finding.state]}]{finding.state}[/]", finding.check, finding.said)
        Console(highlight=False).print(table)
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(1)
