"""Pulls a snapshot into a folder: downloads and verifies it in a temporary one, converts it, and renames the result."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import BaseModel
from thumbwheel import wire
from thumbwheel.client.partial_file import sha256_of

from app.errors import Conflict, Invalid, Unavailable

if TYPE_CHECKING:
    from rich.progress import Progress
    from thumbwheel import Client

#: A function that shows progress: the activity, the amount done, and the total if it is known.
Report = Callable[[str, int, int | None], None]

CARD, MANIFEST = "card.md", "manifest.json"
MIXED = "the snapshot has texts and chats: each text became a chat of a user's message and the assistant's answer"


class Format(StrEnum):
    parquet = "parquet"
    jsonl = "jsonl"
    datasets = "datasets"


class Split(StrEnum):
    train = "train"
    holdout = "holdout"
    later = "later"


class PulledSnapshot(BaseModel):
    """A snapshot in a folder. `new` is False if the folder had it already."""

    snapshot_id: UUID
    sha256: str
    folder: Path
    format: Format
    rows: dict[str, int]
    new: bool
    notes: list[str]


def pull_snapshot(
    client: "Client", snapshot_id: UUID, folder: Path, form: Format, splits: Sequence[Split]
) -> PulledSnapshot:
    """Pulls the snapshot into the new folder `folder`, or checks that an existing folder holds it.

    Raises `Invalid` if the splits have no rows, `Conflict` if the folder holds something else, `Unavailable` if a
    library is missing or the folder cannot be written, and the errors of the client.
    """
    _require_libraries(form)
    snapshot = client.snapshots.get(snapshot_id)
    rows = {split: _rows_of(snapshot, split) for split in splits}
    if not any(rows.values()):
        raise Invalid(f"Snapshot {snapshot_id} has no rows of {' or '.join(splits)}.", code="no_rows")
    paths = _paths(snapshot, splits, form)
    pulled = PulledSnapshot(
        snapshot_id=snapshot.id,
        sha256=snapshot.sha256,
        folder=folder,
        format=form,
        rows={split: count for split, count in rows.items() if count or split is not Split.later},
        new=True,
        notes=[MIXED] if form is not Format.parquet and _mixed(snapshot.manifest) else [],
    )
    if folder.exists():
        _require_same(folder, snapshot, form, [split for split in splits if rows[split]], paths)
        return pulled.model_copy(update={"new": False})
    try:
        with _temporary_folders(folder) as (files, content), _bars() as bars:
            report = _report_to(bars)
            client.snapshots.pull(snapshot_id, files, paths=paths, progress=report)
            if form is Format.parquet:
                files.rename(content)
            else:
                content.mkdir()
                for name in (CARD, MANIFEST):
                    if (files / name).exists():
                        (files / name).rename(content / name)
                convert(snapshot.manifest, files, content, form, rows, report)
            content.rename(folder)
    except OSError as error:
        raise Unavailable(
            f"{folder} cannot be created: {error}. Choose another --to, or remove the cause.", code="folder_unusable"
        ) from error
    return pulled


def convert(
    manifest: Mapping[str, Any],
    files: Path,
    content: Path,
    form: Format,
    rows: Mapping[Split, int],
    report: Report = lambda _activity, _done, _total: None,
) -> None:
    """Converts the shards in the folder `files` to `form` and writes them to the folder `content`.

    rows  the number of rows of each split
    """
    from app.snapshots.files import export

    for split, count in rows.items():
        if count:
            batches = export.batches(files, export.shards_of(manifest, [split]), chat=export.is_chat(manifest))
            if form is Format.jsonl:
                target, write_all = content / f"{split}.jsonl", export.write_lines
            else:
                target, write_all = files / f"{split}.arrow", export.write_arrow
            write_all(batches, target, _report_rows(report, f"writing {split}", count))
    if form is Format.datasets:
        _save(files, content, [split for split, count in rows.items() if count])


def _report_rows(report: Report, activity: str, total: int) -> Callable[[int], None]:
    return lambda done: report(activity, done, total)


def _save(files: Path, content: Path, splits: Sequence[Split]) -> None:
    import datasets

    datasets.disable_progress_bars()
    by_split = {str(split): datasets.Dataset.from_file(str(files / f"{split}.arrow")) for split in splits}
    datasets.DatasetDict(by_split).save_to_disk(str(content))


def _require_libraries(form: Format) -> None:
    """Raises `Unavailable`, before anything is downloaded, if a library that the format needs is missing."""
    needed = {Format.parquet: [], Format.jsonl: ["pyarrow"], Format.datasets: ["pyarrow", "datasets"]}
    for library in needed[form]:
        try:
            __import__(library)
        except ImportError as error:
            raise Unavailable(
                f"--format {form} needs the package {library}, which is not installed: pip install {library}, "
                "or pull --format parquet.",
                code="library_missing",
            ) from error


def _rows_of(snapshot: wire.SnapshotDetail, split: Split) -> int:
    return sum(shard["rows"] for shard in snapshot.manifest.get("shards", []) if shard["split"] == split)


def _mixed(manifest: Mapping[str, Any]) -> bool:
    from app.snapshots.files import export

    return export.is_mixed(manifest)


def _paths(snapshot: wire.SnapshotDetail, splits: Sequence[Split], form: Format) -> set[str]:
    """Returns the files to download: all for Parquet with every split, else the splits' shards, manifest and card."""
    if form is Format.parquet and len(splits) == len(Split):
        return set(snapshot.files)
    shards = {shard["path"] for shard in snapshot.manifest["shards"] if shard["split"] in splits}
    return (shards | {CARD, MANIFEST}) & snapshot.files.keys()


def _require_same(
    folder: Path, snapshot: wire.SnapshotDetail, form: Format, splits: Sequence[Split], paths: set[str]
) -> None:
    """Raises `Conflict` if the folder holds anything but this snapshot in this format."""
    if form is Format.parquet:
        names, hashed = paths, paths
    else:
        names = {f"{split}.jsonl" if form is Format.jsonl else str(split) for split in splits}
        hashed = {CARD, MANIFEST} & snapshot.files.keys()
    try:
        present = {path.name for path in folder.iterdir()} - {"dataset_dict.json"}
        same = present == names | hashed and all(sha256_of(folder / name) == snapshot.files[name] for name in hashed)
    except OSError:
        same = False
    if not same:
        raise Conflict(
            f"{folder} exists already and is not snapshot {snapshot.id} as {form}: choose another --to, or remove it.",
            code="folder_taken",
        )


@contextmanager
def _temporary_folders(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yields two temporary paths next to `folder`: one for the download, one for the content of the folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield temporary / "files", temporary / "content"
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _bars() -> "Iterator[Progress]":
    """Shows progress bars with the remaining time on stderr, since stdout is for the result; no bars in a pipe."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    stderr = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bars:
        yield bars


def _report_to(bars: "Progress") -> Report:
    """Returns a function that shows each activity as a bar of its own."""
    tasks: dict[str, Any] = {}

    def report(activity: str, done: int, total: int | None) -> None:
        if activity not in tasks:
            tasks[activity] = bars.add_task(activity, total=total)
        bars.update(tasks[activity], completed=done, total=total)

    return report
