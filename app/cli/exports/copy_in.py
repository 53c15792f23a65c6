"""Copies the log of an export into a project, and on request the settings that labels and runs depend on."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from app.cli.exports.folder import ERASURES, FIRST_WITH_ERASURES, PROJECT, ExportManifest, Part, require_whole
from app.cli.exports.log_files import LogLine, lines_of, merged
from app.cli.exports.project_settings import ExportedSettings, restore
from app.errors import Conflict, Invalid

if TYPE_CHECKING:
    from thumbwheel import Client, wire

#: The largest number of rows and bytes that one request sends.
BATCH_ROWS, BATCH_BYTES = 2000, 8 * 1024 * 1024
BATCH_ERASURES = 1000


class CopiedIn(BaseModel):
    """The outcome of importing an export."""

    folder: Path
    project: str
    stored: int = 0
    replayed: int = 0
    erased: int = 0
    erasures: int = 0
    expired: int = 0
    settings: list[str] = []


def copy_in(
    client: "Client | None",
    folder: Path,
    manifest: ExportManifest,
    *,
    with_settings: bool,
    advance: Callable[[int], None],
) -> CopiedIn:
    """Sends the erasures of an export, and then its rows in the order of the log, behind those of an interrupted
    attempt. Without a client, it counts them as stored. Every file is verified before anything is sent.

    Raises `Invalid` for a damaged or incomplete export, `Conflict` if the project has other feedback.
    """
    form = manifest.format
    paths = {part: f"{part}.{form}" for part in (Part.events, Part.completions) if f"{part}.{form}" in manifest.files}
    if not paths and not with_settings:
        raise Invalid(f"{folder} has neither events nor completions: nothing to import.", code="export_without_log")
    has_erasures = manifest.version >= FIRST_WITH_ERASURES
    for name in (*paths.values(), *([ERASURES] if has_erasures else []), *([PROJECT] if with_settings else [])):
        require_whole(folder, manifest, name)
    outcome = CopiedIn(folder=folder, project=manifest.project)
    if has_erasures:
        outcome.erasures = _copy_erasures(client, folder / ERASURES)
    lines = merged(*(lines_of(folder / name, part.value, form) for part, name in paths.items()))
    if client is not None and paths:
        lines = _rest(lines, client.log.end().watermark, manifest, outcome, advance)
    for batch in _batches(lines):
        if client is None:
            outcome.stored += len(batch)
        else:
            receipt = _sent(client, folder, batch)
            outcome.stored += receipt.stored
            outcome.replayed += receipt.replayed
            outcome.erased += receipt.erased
            outcome.expired += receipt.expired
        advance(len(batch))
    if client is not None and with_settings:
        exported = ExportedSettings.model_validate_json((folder / PROJECT).read_bytes())
        outcome.settings = restore(client, exported)
    return outcome


def rows_of(manifest: ExportManifest) -> int:
    """Returns the number of rows that an import sends."""
    names = (f"{part}.{manifest.format}" for part in (Part.events, Part.completions))
    return sum(manifest.files[name].rows or 0 for name in names if name in manifest.files)


def _rest(
    lines: Iterator[LogLine], end: int, manifest: ExportManifest, outcome: CopiedIn, advance: Callable[[int], None]
) -> Iterator[LogLine]:
    """Yields the rows from the end of the project's log on. That one is sent, and the server compares it."""
    until = min(end, manifest.watermark)
    first = True
    for line in lines:
        if line.position < until:
            outcome.replayed += 1
            advance(1)
            continue
        if first and until and line.position != until:
            raise Conflict(
                f"The log of the project has feedback that is not in {outcome.folder}: import it into a project "
                "without feedback, or send the events as new ones with `thumbwheel import FILE`.",
                code="log_has_other_rows",
            )
        first = False
        yield line


def _copy_erasures(client: "Client | None", path: Path) -> int:
    """Keeps the erased actors of an export away from the project. Returns their number."""
    from thumbwheel import wire

    with path.open(encoding="utf-8") as file:
        erasures = [wire.CopiedErasure.model_validate_json(line) for line in file]
    for start in range(0, len(erasures) if client is not None else 0, BATCH_ERASURES):
        assert client is not None
        client.erasures.copy_in(erasures[start : start + BATCH_ERASURES])
    return len(erasures)


def _sent(client: "Client", folder: Path, batch: Sequence[LogLine]) -> "wire.CopyReceipt":
    """Sends rows. Raises `Invalid`, which names their positions, if the server reads one of them as faulty."""
    from thumbwheel import ApiError

    try:
        return client.log.copy_in(b"\n".join(line.text for line in batch))
    except ApiError as error:
        if error.status != 422:
            raise
        raise Invalid(
            f"{folder}: of the rows at positions {batch[0].position} to {batch[-1].position}, in their order: "
            f"{error.message} All rows before them are imported.",
            code="export_damaged",
        ) from error


def _batches(lines: Iterator[LogLine]) -> Iterator[list[LogLine]]:
    batch: list[LogLine] = []
    size = 0
    for line in lines:
        if batch and (len(batch) == BATCH_ROWS or size + len(line.text) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line.text)
    if batch:
        yield batch
