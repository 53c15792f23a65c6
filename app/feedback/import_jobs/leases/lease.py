"""The lease of an import, and the position that its holder writes. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from thumbwheel import wire


@dataclass(frozen=True)
class ImportLease:
    """The right to go on with an import. It ends with its expiry, the next claim, or the end of the import."""

    import_id: UUID
    owner: str
    epoch: int


@dataclass(frozen=True)
class ImportPosition:
    """The position up to which an import has come.

    files_done   members of an archive that are dealt with
    items_done   items of the next one
    rows         items of all of them
    outcomes     by file
    """

    files_done: int = 0
    items_done: int = 0
    rows: int = 0
    bytes_done: int = 0
    outcomes: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class ClaimedImport:
    """An import in the hands of a process.

    rejects    rejected records that are listed
    attempts   claims without progress, this one included
    limits     of the key and of the project, for all events
    uncounted  since when and until when the log may have got items of it that no position counts: a process before
               was lost. None if there was none
    """

    lease: ImportLease
    project: str
    name: str
    options: wire.ImportOptions
    limits: Sequence[Mapping[str, Any]]
    dry_run: bool
    position: ImportPosition
    rejects: int
    attempts: int
    uncounted: tuple[datetime, datetime] | None
