"""Carries out an import: reads the upload, sends its items to the log, and writes position and outcomes together.

A process that continues reads the file from its beginning, since ids depend on the records before, and sends what lies
behind the last position. What the lost process sent after that position is replayed, and counted as it would have been.
"""

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

from sqlalchemy.orm import Session

from app import artifacts, settings
from app.database import transaction
from app.errors import Invalid, StaleLease, ThumbwheelError, Unavailable
from app.feedback import importing
from app.feedback.import_jobs.held_lease import HeldLease
from app.feedback.import_jobs.intake_log import IntakeLog, intake_log
from app.feedback.import_jobs.leases import service as leases
from app.feedback.import_jobs.leases.lease import ClaimedImport, ImportPosition
from app.feedback.import_jobs.protected_items import ItemProtection
from app.feedback.importing.outcomes import ImportOutcome, Reject, outcome_of
from app.feedback.importing.sending import DryRun, Sending, sending_to
from app.projects.protection import service as protections

log = logging.getLogger(__name__)

#: How often the position is written.
EVERY_SECONDS = 1.0
#: Decompressed, a file may be this many times as large as an upload may be.
DECOMPRESSED = 20
#: Files in one archive.
MOST_MEMBERS = 1000


class _Stopped(Exception):
    """The process has to stop; another one continues."""


def do(import_id: UUID, owner: str, stopping: Callable[[], bool]) -> None:
    """Carries out the import, unless another process holds it or it has ended.

    stopping  returns whether this process has to stop: then another one continues
    """
    with transaction() as session:
        claimed = leases.claim(session, import_id, owner)
    if claimed is None:
        return
    try:
        with HeldLease(claimed.lease) as held:
            _Job(claimed, held, stopping).do()
        _end(claimed, lambda session: leases.finish(session, claimed.lease, "done"))
    except StaleLease as stale:
        log.info("import %s is not continued here: %s", import_id, stale.message)
        return
    except _Stopped:
        _end(claimed, lambda session: leases.give_back(session, claimed.lease, None))
        return
    except Exception as error:  # noqa: BLE001 - it is written into the row, and logged there
        _fail(claimed, error)
        return
    log.info("import %s is done", import_id)


def _fail(claimed: ClaimedImport, error: Exception) -> None:
    """Ends the import, or gives it back if the error may pass."""
    lease = claimed.lease
    expected = isinstance(error, ThumbwheelError)
    message = error.message if isinstance(error, ThumbwheelError) else f"{type(error).__name__}, see the worker's log."
    if isinstance(error, MemoryError):
        message, expected = "Its records need more memory than an import may use: split the file.", True
    if not expected:
        log.error("import %s failed", lease.import_id, exc_info=error)
    passing = isinstance(error, Unavailable) or not expected
    if passing and (isinstance(error, Unavailable) or claimed.attempts < leases.MOST_ATTEMPTS):
        pause = leases.pause_seconds(claimed.attempts)
        log.warning("import %s is tried again in %.0f s: %s", lease.import_id, pause, message)
        _end(claimed, lambda session: leases.give_back(session, lease, message, pause))
    else:
        _end(claimed, lambda session: leases.finish(session, lease, "failed", message))


def _end(claimed: ClaimedImport, write: Callable[[Session], None]) -> None:
    try:
        with transaction() as session:
            write(session)
    except StaleLease as stale:
        log.info("import %s has ended meanwhile: %s", claimed.lease.import_id, stale.message)


@contextmanager
def _downloads(import_id: UUID) -> Iterator[Path]:
    """Provides a folder for the file of the import, and deletes what a killed process left of it on this machine."""
    folder = settings.current().data_dir / "downloads"
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{import_id}-*"):
        shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(prefix=f"{import_id}-", dir=folder) as downloads:
        yield Path(downloads)


class _Job:
    def __init__(self, claimed: ClaimedImport, held: HeldLease, stopping: Callable[[], bool]) -> None:
        self._claimed = claimed
        self._held = held
        self._stopping = stopping
        self._position = claimed.position
        self._outcomes = [outcome_of(document) for document in claimed.position.outcomes]
        self._listed = claimed.rejects
        self._rejects: list[dict[str, object]] = []
        self._written = time.monotonic()
        self._log: IntakeLog | None = None
        with transaction(read_only=True) as session:
            known = protections.protection_of(session, claimed.project)
        self._protection = ItemProtection(claimed.project, known)

    def do(self) -> None:
        """Sends what lies behind the position. Raises `StaleLease`, `_Stopped`, and the errors of the import."""
        if self._claimed.attempts > leases.MOST_ATTEMPTS:
            raise Invalid(
                f"{leases.MOST_ATTEMPTS} processes were lost at the same place: see the workers' logs.",
                code="import_lost",
            )
        options = self._claimed.options
        chosen = importing.choices(options.as_, options.map, options.desirable, options.undesirable, options.scale)
        with (
            _downloads(self._claimed.lease.import_id) as downloads,
            artifacts.local_upload(self._claimed.lease.import_id, downloads) as path,
            self._sending() as sending,
        ):
            most = settings.current().import_max_bytes * DECOMPRESSED
            sources = importing.in_file(path, self._claimed.name, most=most)
            if len(sources) > MOST_MEMBERS:
                raise Invalid(f"The archive holds over {MOST_MEMBERS:,} files: split it.", code="file_not_understood")
            if self._claimed.position == ImportPosition():
                for source in sources:
                    source.require_whole()
                    self._require()
            before = 0
            for number, source in enumerate(sources):
                if number >= self._position.files_done:
                    self._send(source, chosen, number, before, sending)
                before += source.size
            self._write()

    @contextmanager
    def _sending(self) -> Iterator[Sending]:
        if self._claimed.dry_run:
            yield DryRun(self._protection.as_stored)
            return
        with (
            intake_log(self._claimed, self._require) as self._log,
            sending_to(self._log, in_flight=0) as sender,
        ):
            yield sender

    def _send(
        self, source: importing.Source, chosen: importing.ImportChoices, number: int, before: int, sending: Sending
    ) -> None:
        """Sends the items of one file, of which `before` bytes lie before."""
        if number == len(self._outcomes):
            self._outcomes.append(ImportOutcome(source.name))
        outcome = self._outcomes[number]
        outcome.on_reject = lambda reject: self._keep(outcome, reject)
        outcome.worded = self._protection.reason
        items = first = self._position.items_done
        rows = self._position.rows
        for position in importing.send_source(source, chosen, outcome, sending, after=first):
            if position.items <= first:
                self._require()
                continue
            items = position.items
            self._position = replace(
                self._position,
                items_done=items,
                rows=rows + items - first,
                bytes_done=max(self._position.bytes_done, before + min(position.bytes, source.size)),
            )
            if time.monotonic() - self._written >= EVERY_SECONDS or self._stopping():
                self._write()
            self._require()
        self._position = replace(self._position, files_done=number + 1, items_done=0, bytes_done=before + source.size)

    def _keep(self, outcome: ImportOutcome, reject: Reject) -> None:
        row = {"file": outcome.file, "unit": outcome.unit, "line": reject[outcome.unit], "reason": reject["reason"]}
        if self._listed + len(self._rejects) < leases.MOST_REJECTS:
            self._rejects.append(row)

    def _write(self) -> None:
        documents = [outcome.document() for outcome in self._outcomes]
        self._position = replace(self._position, outcomes=documents)
        with transaction() as session:
            leases.require_open(session, self._claimed.project)
            self._listed = leases.advance(
                session,
                self._claimed.lease,
                self._position,
                self._rejects,
                self._listed,
                catching_up=self._log is not None and self._log.catching_up,
            )
        self._rejects = []
        self._written = time.monotonic()

    def _require(self) -> None:
        self._held.require()
        if self._stopping():
            raise _Stopped
