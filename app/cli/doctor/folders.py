"""Checks of the folders: each can be written to and has space."""

import os
import shutil
from pathlib import Path

from app.cli.doctor.finding import Finding
from app.settings import Settings

LOW_DISK_GB = 2  # one checkpoint of a small model with its training state


def data_folder(config: Settings) -> Finding:
    """Checks the data folder, or the nearest one above it that exists."""
    folder = config.data_dir.absolute()
    fault = _reason_unusable(folder)
    if fault is not None:
        return Finding("Data folder", "wrong", f"{fault}: set THUMBWHEEL_DATA_DIR to another folder")
    return Finding("Data folder", "ok", f"{folder}, {_free_gb(folder):.0f} GB free")


def working_folders(config: Settings) -> Finding:
    """Checks the folders of runs and of embedded servers, each of which may be on a disk of its own."""
    folders = [config.work_dir.absolute()]
    folders += [path for name in ("postgres", "valkey") if (path := config.data_dir.absolute() / name).exists()]
    faults = [fault for folder in folders if (fault := _reason_unusable(folder)) is not None]
    if faults:
        return Finding("Working folders", "wrong", f"{'; '.join(faults)}: free some space, or fix the permissions")
    return Finding("Working folders", "ok", ", ".join(f"{path.name} {_free_gb(path):.0f} GB free" for path in folders))


def artifact_store(config: Settings) -> Finding:
    """Checks that artifacts can be stored: inspects a folder, or tries out a bucket."""
    from app import artifacts

    if config.artifacts_url is None or artifacts.in_folder():
        folder = Path(artifacts.location()).absolute()
        fault = _reason_unusable(folder)
        if fault is not None:
            return Finding("Artifacts", "wrong", f"{fault}: set THUMBWHEEL_ARTIFACTS_URL to another folder")
        return Finding("Artifacts", "ok", f"in {folder}, {_free_gb(folder):.0f} GB free")
    artifacts.try_out()
    if artifacts.bucket_keeps_versions():
        versions = "erased files stay there as old versions: turn versioning off, or let a lifecycle rule delete them"
        return Finding(
            "Artifacts", "note", f"{artifacts.location()}: storing, reading and deleting work, but {versions}"
        )
    return Finding("Artifacts", "ok", f"{artifacts.location()}: storing, reading and deleting work")


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _free_gb(folder: Path) -> float:
    return shutil.disk_usage(_existing(folder)).free / 1024**3


def _reason_unusable(folder: Path) -> str | None:
    """Returns the reason why the folder, or its nearest existing parent, is unusable, or None."""
    existing = _existing(folder)
    if not existing.is_dir():
        return f"{existing} is a file, not a folder"
    if not os.access(existing, os.W_OK | os.X_OK):
        return f"{existing} cannot be written to by this user"
    if _free_gb(folder) < LOW_DISK_GB:
        return f"{folder}: only {_free_gb(folder):.1f} GB free, {LOW_DISK_GB} are needed"
    return None
