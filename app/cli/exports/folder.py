"""The folder of an export: its manifest, the export that is under way in it, and the checks of both."""

import json
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from app.durable import sha256_of, write_atomically
from app.errors import Conflict, Invalid

MANIFEST, UNFINISHED, PROJECT = "manifest.json", "unfinished.json", "project.json"
ERASURES = "erasures.jsonl"
LATEST_VERSION = FIRST_WITH_ERASURES = 2
CHUNK = 1 << 20


class Part(StrEnum):
    """A part of an export: a file of lines, and for snapshots a folder as well."""

    events = "events"
    completions = "completions"
    labels = "labels"
    snapshots = "snapshots"
    runs = "runs"
    ledger = "ledger"


class ExportFormat(StrEnum):
    """The format of events, completions and labels. The other files are JSON lines."""

    jsonl = "jsonl"
    parquet = "parquet"


class ExportBegun(BaseModel):
    """The state of the project that an export holds.

    watermark  up to which position of the log
    erasures   number of erasures when it began: after another one, its rows may be those of an erased actor
    """

    project: str
    watermark: int
    erasures: int
    format: ExportFormat
    parts: list[Part]


class ExportedFile(BaseModel):
    sha256: str
    bytes: int
    rows: int | None = None


class ExportManifest(ExportBegun):
    """The content of a complete export, with the SHA-256 of each file."""

    kind: Literal["thumbwheel export"] = "thumbwheel export"
    version: int = LATEST_VERSION
    server: str
    exported_at: datetime
    files: dict[str, ExportedFile]


def begun(folder: Path) -> ExportBegun | None:
    """Returns the unfinished export in `folder`, None for a folder that is new or empty.

    Raises `Conflict` if the folder holds anything else.
    """
    if (folder / MANIFEST).exists():
        raise Conflict(f"{folder} holds a complete export already: choose another folder.", code="folder_taken")
    if (folder / UNFINISHED).exists():
        return ExportBegun.model_validate_json((folder / UNFINISHED).read_bytes())
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder} exists and is no export: choose another folder.", code="folder_taken")
    return None


def begin(folder: Path, export: ExportBegun) -> None:
    """Creates the folder of an export."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / UNFINISHED, export.model_dump_json(indent=2).encode())


def finish(folder: Path, manifest: ExportManifest) -> None:
    """Writes the manifest: the export is complete."""
    write_atomically(folder / MANIFEST, manifest.model_dump_json(indent=2, exclude_none=True).encode())
    (folder / UNFINISHED).unlink()


def is_export(path: Path) -> bool:
    """Returns whether the path is the folder of an export, complete or not."""
    return (path / MANIFEST).is_file() or (path / UNFINISHED).is_file()


def manifest_of(folder: Path) -> ExportManifest:
    """Returns the manifest of a complete export. Raises `Invalid`."""
    if not (folder / MANIFEST).is_file():
        raise Invalid(
            f"{folder} is an unfinished export: finish it with `thumbwheel export` first.", code="export_unfinished"
        )
    try:
        document = json.loads((folder / MANIFEST).read_bytes())
        version = document.get("version") if isinstance(document, dict) else None
        if isinstance(version, int) and version > LATEST_VERSION:
            raise Invalid(
                f"{folder} has version {version} of the format, and this thumbwheel reads up to {LATEST_VERSION}: "
                "install a newer one.",
                code="export_too_new",
            )
        return ExportManifest.model_validate(document)
    except (OSError, ValueError, ValidationError) as error:
        reason = f"{error.error_count()} faults" if isinstance(error, ValidationError) else str(error)
        raise Invalid(
            f"{folder / MANIFEST} is no manifest of an export ({reason}): export the project again.",
            code="export_damaged",
        ) from error


def require_whole(folder: Path, manifest: ExportManifest, name: str) -> Path:
    """Returns the path of a file of the export once its hash is verified. Raises `Invalid` for a damaged one."""
    path, expected = folder / name, manifest.files.get(name)
    if expected is None:
        raise Invalid(f"{folder / MANIFEST} does not name {name}: export the project again.", code="export_damaged")
    try:
        actual = sha256_of(path)
    except OSError as error:
        raise Invalid(
            f"Cannot read {path}: {error}. Nothing was imported: copy the export again.", code="export_damaged"
        ) from error
    if actual != expected.sha256:
        raise Invalid(
            f"{path} is damaged: its SHA-256 is {actual}, not {expected.sha256} as in {MANIFEST}. Nothing was "
            "imported: copy the export again.",
            code="export_damaged",
        )
    return path


def files_in(folder: Path, rows: dict[str, int]) -> dict[str, ExportedFile]:
    """Returns the files of an export with their hashes. Deletes what interrupted downloads left behind.

    rows  the numbers of rows of the files that do not have a row in each line
    """
    for leftover in folder.rglob(".*"):
        leftover.unlink()
    return {
        name: ExportedFile(
            sha256=sha256_of(path),
            bytes=path.stat().st_size,
            rows=rows.get(name, _lines(path) if path.suffix == ".jsonl" else None),
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (name := path.relative_to(folder).as_posix()) not in (UNFINISHED, MANIFEST)
    }


def _lines(path: Path) -> int:
    count = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            count += chunk.count(b"\n")
    return count
