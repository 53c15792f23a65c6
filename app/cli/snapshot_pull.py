"""A snapshot into a folder: downloaded and verified aside, turned into the wanted format, renamed."""

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
from thumbwheel.client.downloads import sha256_of

from app.errors import Conflict, Invalid, Unavailable

if TYPE_CHECKING:
    from rich.progress import Progress
    from thumbwheel import Client

#: Told of what, how much is done, and of how much, where that is known.
Told = Callable[[str, int, int | None], None]

CARD, MANIFEST = "card.md", "manifest.json"
MIXED = "the snapshot has texts and chats: a text became what a user said, and its completion what the assistant did"


class Format(StrEnum):
    parquet = "parquet"
    jsonl = "jsonl"
    datasets = "datasets"


class Split(StrEnum):
    train = "train"
    holdout = "holdout"
    later = "later"


class Pulled(BaseModel):
    """A snapshot that was written to a folder."""

    snapshot_id: UUID
    sha256: str
    folder: Path
    format: Format
    rows: dict[str, int]
    new: bool
    notes: list[str]


def pulled(client: "Client", snapshot_id: UUID, folder: Path, form: Format, splits: Sequence[Split]) -> Pulled:
    """The snapshot in `folder`, which is made, or has it already.

    Raises `Conflict` where something else lies there, `Unavailable` where a library is missing or this machine cannot
    take it, and what the client raises.
    """
    _require_libraries(form)
    found = client.snapshots.get(snapshot_id)
    rows = {split: _rows_of(found, split) for split in splits}
    if not any(rows.values()):
        raise Invalid(f"Snapshot {snapshot_id} has no rows of {' or '.join(splits)}.", code="no_rows")
    wanted = _paths(found, splits, form)
    done = Pulled(
        snapshot_id=found.id,
        sha256=found.sha256,
        folder=folder,
        format=form,
        rows={split: count for split, count in rows.items() if count or split is not Split.later},
        new=True,
        notes=[MIXED] if form is not Format.parquet and _mixed(found.manifest) else [],
    )
    if folder.exists():
        _require_same(folder, found, form, [split for split in splits if rows[split]], wanted)
        return done.model_copy(update={"new": False})
    try:
        with _aside(folder) as (files, made), _bars() as bars:
            told = _told(bars)
            client.snapshots.pull(snapshot_id, files, paths=wanted, progress=told)
            if form is Format.parquet:
                files.rename(made)
            else:
                made.mkdir()
                for name in (CARD, MANIFEST):
                    if (files / name).exists():
                        (files / name).rename(made / name)
                write(found.manifest, files, made, form, rows, told)
            made.rename(folder)
    except OSError as error:
        raise Unavailable(
            f"{folder} cannot be made: {error}: give another --to, or mend that.", code="folder_unusable"
        ) from error
    return done


def write(
    manifest: Mapping[str, Any],
    files: Path,
    made: Path,
    form: Format,
    rows: Mapping[Split, int],
    told: Told = lambda _what, _done, _total: None,
) -> None:
    """Converts the shards in the folder `files` to `form`, in the folder `made`. rows: their number by split."""
    from app.snapshots.files import export

    for split, count in rows.items():
        if count:
            found = export.batches(files, export.shards_of(manifest, [split]), chat=export.is_chat(manifest))
            if form is Format.jsonl:
                target, write_all = made / f"{split}.jsonl", export.write_lines
            else:
                target, write_all = files / f"{split}.arrow", export.write_arrow
            write_all(found, target, _rows_told(told, f"writing {split}", count))
    if form is Format.datasets:
        _save(files, made, [split for split, count in rows.items() if count])


def _rows_told(told: Told, what: str, total: int) -> Callable[[int], None]:
    return lambda done: told(what, done, total)


def _save(files: Path, made: Path, splits: Sequence[Split]) -> None:
    import datasets

    datasets.disable_progress_bars()
    mapped = {str(split): datasets.Dataset.from_file(str(files / f"{split}.arrow")) for split in splits}
    datasets.DatasetDict(mapped).save_to_disk(str(made))


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


def _rows_of(found: wire.SnapshotDetail, split: Split) -> int:
    return sum(shard["rows"] for shard in found.manifest.get("shards", []) if shard["split"] == split)


def _mixed(manifest: Mapping[str, Any]) -> bool:
    from app.snapshots.files import export

    return export.is_mixed(manifest)


def _paths(found: wire.SnapshotDetail, splits: Sequence[Split], form: Format) -> set[str]:
    """The files that are needed: all of them as they are, of one split its shards alone, beside manifest and card."""
    if form is Format.parquet and len(splits) == len(Split):
        return set(found.files)
    shards = {shard["path"] for shard in found.manifest["shards"] if shard["split"] in splits}
    return (shards | {CARD, MANIFEST}) & found.files.keys()


def _require_same(
    folder: Path, found: wire.SnapshotDetail, form: Format, splits: Sequence[Split], wanted: set[str]
) -> None:
    """Raises `Conflict` if the folder holds anything but this snapshot in this format."""
    if form is Format.parquet:
        names, hashed = wanted, wanted
    else:
        names = {f"{split}.jsonl" if form is Format.jsonl else str(split) for split in splits}
        hashed = {CARD, MANIFEST} & found.files.keys()
    try:
        there = {path.name for path in folder.iterdir()} - {"dataset_dict.json"}
        same = there == names | hashed and all(sha256_of(folder / name) == found.files[name] for name in hashed)
    except OSError:
        same = False
    if not same:
        raise Conflict(
            f"{folder} is there already and is not snapshot {found.id} as {form}: give another --to, or remove it.",
            code="folder_taken",
        )


@contextmanager
def _aside(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yields two temporary paths next to `folder`: one for the download, one for the content of the folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield place / "files", place / "made"
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _bars() -> "Iterator[Progress]":
    """Progress with the time that is left, on stderr: stdout is for the result. Nothing in a pipe."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    said = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=said, transient=True, disable=not said.is_terminal) as bars:
        yield bars


def _told(bars: "Progress") -> Told:
    """Shows how much of each file has come, or was written."""
    tasks: dict[str, Any] = {}

    def told(what: str, done: int, total: int | None) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=total)
        bars.update(tasks[what], completed=done, total=total)

    return told
