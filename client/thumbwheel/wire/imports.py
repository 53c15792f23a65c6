"""Imports: uploaded files of feedback, the work on them, and its outcome."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

ImportState = Literal["queued", "running", "done", "failed", "cancelled"]
#: The states in which nothing happens any more.
ENDED_IMPORTS: frozenset[ImportState] = frozenset({"done", "failed", "cancelled"})


class ImportOptions(BaseModel):
    """The uploader's statements about a file, in the words of `thumbwheel import`."""

    as_: str | None = Field(None, alias="as", description="the shape of the records; null: by their content")
    map: str | None = Field(None, description="columns, such as prompt=question,label=thumb")
    desirable: str | None = Field(None, description="values that are a thumbs up, such as yes,👍,5")
    undesirable: str | None = Field(None, description="values that are a thumbs down; null: all others")
    scale: str | None = Field(None, description="the scale of ratings, such as 1:10")

    model_config = ConfigDict(frozen=True, populate_by_name=True, serialize_by_alias=True)


class ImportedFile(BaseModel):
    """The outcome of the records of one file, or of one member of an archive."""

    file: str
    unit: str = Field(description="what its records are numbered by: line, item or row")
    stored: int = Field(description="events that are new; in a dry run, those that would be sent")
    registered: int = Field(description="completions that are new")
    superseded: int = Field(description="events that replaced an older version of themselves")
    replayed: int = Field(description="events and completions that were stored before")
    rejected: int
    silent: int = Field(description="valid records that say nothing")
    reasons: dict[str, int] = Field(description="rejected and silent records by reason")
    says_nothing: dict[str, int] = Field(description="silent records by reason")
    not_trained: dict[str, int] = Field(description="stored events that no run would learn from, by reason")
    ignored: dict[str, int] = Field(description="records by field that events do not store")
    first_lines: dict[str, list[int]] = Field(description="the numbers of the first few records of each reason")
    rows: list[dict[str, Any]] = Field([], description="the first ten events and completions of a dry run")
    not_understood: str | None = Field(None, description="why a member of an archive was passed over")


class ImportProgress(BaseModel):
    """The part of an import that is done."""

    bytes_done: int = Field(description="bytes of the file that were read, compressed ones as they are")
    bytes_total: int
    rows: int = Field(description="events, completions and faults that were dealt with")
    bytes_per_second: float | None = None
    rows_per_second: float | None = None
    eta_seconds: float | None = None


class ImportCounts(BaseModel):
    """The sums over all files of an import."""

    stored: int = 0
    registered: int = 0
    superseded: int = 0
    replayed: int = 0
    rejected: int = 0
    silent: int = 0


class Import(BaseModel):
    """An uploaded file, and what became of its records so far."""

    id: UUID
    project: str
    name: str = Field(description="of the file")
    size: int = Field(description="of the file, in bytes")
    sha256: str = Field(description="of the file")
    options: ImportOptions
    dry_run: bool
    state: ImportState
    reason: str | None = Field(description="why it failed or was cancelled, or what it waits for")
    created_at: datetime
    created_by: str
    started_at: datetime | None
    finished_at: datetime | None
    attempts: int = Field(description="workers that began it since the last progress")
    progress: ImportProgress
    counts: ImportCounts
    rejects_listed: int = Field(description="rejected records that can be listed; those after the first 100,000 cannot")
    files: list[ImportedFile] = Field([], description="by file or member of the archive; left out in listings")
