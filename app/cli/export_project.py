"""`thumbwheel export FOLDER`: writes a project to a folder, which `thumbwheel import` reads back."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.connection import PATIENT_TRIES, AsJson, Project, connected
from app.cli.exports.folder import ExportFormat, Part
from app.cli.listing import as_table, print_json, show_one
from app.cli.progress_bars import progress_bar
from app.errors import Conflict, Invalid, Unavailable

if TYPE_CHECKING:
    from thumbwheel import Client, wire

    from app.cli.exports.folder import ExportBegun, ExportManifest

#: The labels of a long log take minutes until their first byte.
TIMEOUT_SECONDS = 150


def export(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to write, or to finish.")],
    form: Annotated[
        ExportFormat, typer.Option("--format", help="The format of events, completions and labels.")
    ] = ExportFormat.jsonl,
    only: Annotated[
        str | None, typer.Option(help="Parts, with commas between them.  [default: all]", metavar="PART,…")
    ] = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Write a project's events, completions, labels, snapshots, runs and ledger to a folder, as of now. The same
    command finishes an interrupted export.
    """
    parts = _parts(only)
    with connected(project, tries=PATIENT_TRIES, timeout=TIMEOUT_SECONDS) as client:
        try:
            manifest = _export(client, folder, form, parts)
        except OSError as error:
            raise Unavailable(
                f"Cannot write to {folder}: {error}. Remove the cause and repeat the command.", code="folder_unusable"
            ) from error
    _show(folder, manifest, as_json=as_json)


def _parts(only: str | None) -> list[Part]:
    """Returns the requested parts in their order. Raises `Invalid` for an unknown one."""
    names = [part.value for part in Part] if only is None else [name.strip() for name in only.split(",")]
    unknown = [name for name in names if name not in set(Part)]
    if unknown:
        raise Invalid(f"--only: {unknown[0]!r} is none of {', '.join(Part)}.", code="invalid_part")
    return [part for part in Part if part.value in names]


def _export(client: "Client", folder: Path, form: ExportFormat, parts: Sequence[Part]) -> "ExportManifest":
    """Writes the export, or the rest of it."""
    from app.cli.exports import folder as folders

    begun = _begun(client, folder, form, parts)
    rows = _write_parts(client, folder, begun)
    _require_no_erasure(client, folder, begun)
    manifest = folders.ExportManifest(
        **begun.model_dump(),
        server=f"thumbwheel-server {version('thumbwheel-server')}",
        exported_at=datetime.now(UTC),
        files=folders.files_in(folder, rows),
    )
    folders.finish(folder, manifest)
    return manifest


def _begun(client: "Client", folder: Path, form: ExportFormat, parts: Sequence[Part]) -> "ExportBegun":
    """Returns the unfinished export in the folder, or begins one. Raises `Conflict` if it is another one."""
    from app.cli.exports import folder as folders

    project = client.projects.get().project
    begun = folders.begun(folder)
    if begun is None:
        end = client.log.end()
        begun = folders.ExportBegun(
            project=project, watermark=end.watermark, erasures=end.erasures, format=form, parts=list(parts)
        )
        folders.begin(folder, begun)
    elif (begun.project, begun.format, begun.parts) != (project, form, list(parts)):
        raise Conflict(
            f"{folder} holds an unfinished export of {begun.project} as {begun.format} with "
            f"{','.join(begun.parts)}: repeat that command, or choose another folder.",
            code="folder_taken",
        )
    else:
        _require_no_erasure(client, folder, begun)
    return begun


def _require_no_erasure(client: "Client", folder: Path, begun: "ExportBegun") -> None:
    if client.log.end().erasures != begun.erasures:
        raise Conflict(
            f"Feedback was erased from {begun.project}, or expired, since the export in {folder} began: delete "
            "the folder and repeat the command.",
            code="erased_meanwhile",
        )


def _write_parts(client: "Client", folder: Path, begun: "ExportBegun") -> dict[str, int]:
    """Writes all files. Returns the number of rows of each parquet file."""
    from app.cli.exports.folder import ERASURES, PROJECT
    from app.cli.exports.project_settings import settings_of
    from app.durable import write_atomically

    rows: dict[str, int] = {}
    write_atomically(folder / PROJECT, settings_of(client).model_dump_json(indent=2).encode())
    for part in begun.parts:
        match part:
            case Part.events | Part.completions | Part.labels:
                rows |= _write_lines(client, folder, part, begun)
            case Part.snapshots:
                _write_snapshots(client, folder)
            case Part.runs:
                _write_documents(folder / "runs.jsonl", _runs(client))
            case Part.ledger:
                releases = reversed(list(client.releases.list()))
                _write_documents(folder / "ledger.jsonl", (each.model_dump_json() for each in releases))
    # Last, so that it has the actors who were erased meanwhile: their feedback may be among the rows.
    _write_documents(folder / ERASURES, _erasures(client))
    return rows


def _write_lines(client: "Client", folder: Path, part: Part, begun: "ExportBegun") -> dict[str, int]:
    """Writes events, completions or labels, as JSON lines first. Returns the number of rows if the file is parquet."""
    from app.cli.exports import log_files, parquet

    lines, target = folder / f"{part}.jsonl", folder / f"{part}.{begun.format}"
    if not target.exists():
        with progress_bar(f"exporting {part}", begun.watermark) as advance:
            if part is Part.labels:
                client.log.labels(log_files.partial(lines), watermark=begun.watermark)
                log_files.finish(lines)
            else:
                kind: wire.LogKind = "events" if part is Part.events else "completions"
                log_files.write_lines(client, kind, lines, begun.watermark, advance)
        if target != lines:
            parquet.convert(lines, log_files.partial(target), part)
            log_files.finish(target)
    if target == lines:
        return {}
    lines.unlink(missing_ok=True)
    return {target.name: parquet.rows_in(target)}


def _write_snapshots(client: "Client", folder: Path) -> None:
    """Writes the list of snapshots, and the verified files of each that is not redacted."""
    snapshots = list(client.snapshots.list())[::-1]
    whole = [each for each in snapshots if each.redacted_at is None]
    with progress_bar("exporting snapshots", len(whole)) as advance:
        for each in whole:
            client.snapshots.pull(each.id, folder / "snapshots" / str(each.id))
            advance(1)
    _write_documents(folder / "snapshots.jsonl", (each.model_dump_json() for each in snapshots))


def _erasures(client: "Client") -> Iterable[str]:
    """Yields the actors whose feedback is refused, oldest first, in the form in which an erasure keeps them."""
    from thumbwheel import wire

    for erasure in reversed(list(client.erasures.list())):
        if erasure.tombstone:
            yield wire.CopiedErasure(
                hashed_for=erasure.hashed_for,
                actor_sha256=erasure.actor_sha256,
                pseudonym_sha256=erasure.pseudonym_sha256,
                requested_at=erasure.requested_at,
            ).model_dump_json()


def _runs(client: "Client") -> Iterable[str]:
    """Yields the runs, oldest first, each with the checkpoint that it registered: its figures and verdict."""
    import json

    checkpoints = {each.id: each for each in client.checkpoints.list()}
    for run in reversed(list(client.runs.list())):
        checkpoint = checkpoints.get(run.checkpoint_id) if run.checkpoint_id else None
        shown = None if checkpoint is None else checkpoint.model_dump(mode="json")
        yield json.dumps({**run.model_dump(mode="json"), "checkpoint": shown}, ensure_ascii=False)


def _write_documents(path: Path, documents: Iterable[str]) -> None:
    from app.durable import write_atomically

    write_atomically(path, "".join(f"{document}\n" for document in documents).encode())


def _show(folder: Path, manifest: "ExportManifest", *, as_json: bool) -> None:
    if not as_table(as_json):
        print_json({"folder": str(folder), **manifest.model_dump(mode="json", exclude_none=True)})
        return
    rows = {name: f"{file.rows:,}" for name, file in manifest.files.items() if file.rows is not None}
    size = sum(file.bytes for file in manifest.files.values())
    lines = {"project": manifest.project, "folder": str(folder), "watermark": f"{manifest.watermark:,}"}
    show_one(manifest, {**lines, **rows, "size": f"{size / 1e6:,.1f} MB"}, as_json=False)
