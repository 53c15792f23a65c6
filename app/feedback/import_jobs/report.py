"""Shows the row of an import: state, progress with its rate, and the outcomes of its files."""

from collections.abc import Mapping
from typing import Any

from thumbwheel import wire

from app.database import now
from app.feedback.import_jobs.tables import ImportJob

#: Before this time a rate says nothing.
LEAST_SECONDS = 0.5


def shown(row: ImportJob, *, with_files: bool = True) -> wire.Import:
    """Returns the import as the API shows it. `with_files`: with the outcome of each file."""
    counts = wire.ImportCounts(
        **{name: sum(outcome.get(name, 0) for outcome in row.outcomes) for name in wire.ImportCounts.model_fields}
    )
    return wire.Import(
        id=row.id,
        project=row.project_id,
        name=row.name,
        size=row.size,
        sha256=row.sha256,
        options=wire.ImportOptions.model_validate(row.options),
        dry_run=row.dry_run,
        state=row.state,
        reason=row.reason,
        created_at=row.created_at,
        created_by=row.created_by,
        started_at=row.started_at,
        finished_at=row.finished_at,
        attempts=row.attempts,
        progress=_progress(row),
        counts=counts,
        rejects_listed=row.rejects,
        files=[_file(outcome) for outcome in row.outcomes] if with_files else [],
    )


def _progress(row: ImportJob) -> wire.ImportProgress:
    progress = wire.ImportProgress(bytes_done=row.bytes_done, bytes_total=row.size, rows=row.rows)
    if row.started_at is None:
        return progress
    seconds = ((row.finished_at or now()) - row.started_at).total_seconds()
    if seconds >= LEAST_SECONDS and row.bytes_done:
        progress.bytes_per_second = row.bytes_done / seconds
        progress.rows_per_second = row.rows / seconds
        if row.state == "running":
            progress.eta_seconds = max(0, row.size - row.bytes_done) / progress.bytes_per_second
    return progress


def _file(outcome: Mapping[str, Any]) -> wire.ImportedFile:
    return wire.ImportedFile.model_validate(
        {name: value for name, value in outcome.items() if name in wire.ImportedFile.model_fields}
    )
