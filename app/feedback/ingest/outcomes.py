"""Stores entries in one transaction, and finds the outcome of each of them."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import asyncpg

from app import postgres_errors
from app.errors import MOST_FAULTS, Invalid, Unavailable
from app.feedback import signals
from app.feedback.ingest import append
from app.feedback.ingest.entries import IngestEntry
from app.feedback.ingest.kinds import BodyOutcome, Kind, Result
from app.feedback.ingest.known_protections import KnownProtections
from app.feedback.ingest.protected import ProtectedEntry, protected
from app.projects.protection.setting import UNPROTECTED, ProjectProtection

log = logging.getLogger(__name__)

#: Errors caused by a body; all others come from Postgres or the connection, and concern the whole batch.
OF_A_BODY = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.RaiseError,
    asyncpg.ProgramLimitExceededError,
    ValueError,
    OverflowError,
)
#: Times that the settings on redaction and actors are read for one transaction: nobody changes them as often.
MOST_READS = 5


async def stored(
    connection: asyncpg.Connection,
    kind: Kind,
    given: Sequence[IngestEntry],
    ready: Sequence[ProtectedEntry] | None,
    known: KnownProtections,
) -> tuple[list[Result], Sequence[ProtectedEntry] | None]:
    """Stores entries by the settings of their projects, and returns their outcomes and what was stored of them.

    given  the entries as they were sent
    ready  what is to be stored of them by the known settings; None: the same
    """
    for _ in range(MOST_READS):
        if not known.made(given, ready):
            ready = await known.protected(given)
        try:
            return await _outcomes(connection, kind, given, ready, known), ready
        except asyncpg.PostgresError as error:
            if error.sqlstate != append.OUTDATED:
                raise
        await known.read(connection, {entry.row[0] for entry in given})
    raise Unavailable("The settings on redaction change all the time: retry in a moment.", code="settings_change")


async def _outcomes(
    connection: asyncpg.Connection,
    kind: Kind,
    given: Sequence[IngestEntry],
    ready: Sequence[ProtectedEntry] | None,
    known: KnownProtections,
) -> list[Result]:
    """Stores the entries in one transaction; if one of them makes it fail, stores each half by itself."""
    if ready is None:
        entries, versions = given, append.NO_VERSIONS
    else:
        entries = [each.entry for each in ready if each.refusal is None]
        versions = {each.entry.row[0]: each.by.id for each in ready}
    if len(entries) < len(given):  # a refusal may be out of date, too
        await append.require_current(connection, versions)
    try:
        fates = await kind.insert(connection, [entry.row for entry in entries], versions) if entries else []
    except OF_A_BODY as error:
        if append.lacks_partition(error):
            raise no_partition() from error
        if len(given) == 1:
            reason = postgres_errors.without_values(error)
            log.warning("Postgres refuses a body of project %s: %s", given[0].row[0], reason)
            return [_refused(error)]
        half = len(given) // 2
        first, second = (None, None) if ready is None else (ready[:half], ready[half:])
        return await _outcomes(connection, kind, given[:half], first, known) + await _outcomes(
            connection, kind, given[half:], second, known
        )
    if ready is None:
        if fates.count("new") == len(fates):
            return [BodyOutcome(entry.row[1], "stored") for entry in entries]
        ready = [ProtectedEntry(entry, UNPROTECTED) for entry in given]
    keys = {
        each.entry.row[:2] for each, fate in zip(ready, _with_refused(ready, fates), strict=True) if fate == "there"
    }
    there = await kind.stored(connection, keys) if keys else {}
    protections = [known.of(entry.row[0]) for entry in given]
    together = list(zip(given, ready, _with_refused(ready, fates), protections, strict=True))

    def outcomes() -> list[Result]:
        return [_outcome(kind, sent, each, fate, there, by) for sent, each, fate, by in together]

    # Comparing a retry with earlier settings masks its texts once for each of them.
    return await asyncio.to_thread(outcomes) if there and any(by.newest.id for by in protections) else outcomes()


def _with_refused(ready: Sequence[ProtectedEntry], fates: Sequence[append.Fate]) -> Iterator[append.Fate]:
    """Yields the fate of each entry. One that was refused may be a retry of one that was stored before."""
    of_stored = iter(fates)
    for each in ready:
        yield next(of_stored) if each.refusal is None else "there"


def _outcome(
    kind: Kind,
    sent: IngestEntry,
    ready: ProtectedEntry,
    fate: append.Fate,
    there: dict[append.Key, dict[str, Any]],
    known: ProjectProtection,
) -> Result:
    own_id = ready.entry.row[1]
    if fate == "new":
        return BodyOutcome(own_id, "stored")
    if fate == "erased":
        return BodyOutcome(own_id, "erased_actor")
    before = there.get(ready.entry.row[:2])
    if ready.refusal is not None:
        return BodyOutcome(own_id, "replayed") if before and _is_retry(kind, sent, before, known) else ready.refusal
    if before is None:
        return BodyOutcome(own_id, "erased")
    now = kind.document(ready.entry.body)
    if before == now or _is_retry(kind, sent, before, known):
        return BodyOutcome(own_id, "replayed")
    return BodyOutcome(own_id, "conflict", tuple(islice(signals.differences(before, now), MOST_FAULTS)))


def _is_retry(kind: Kind, sent: IngestEntry, before: dict[str, Any], known: ProjectProtection) -> bool:
    """Returns whether the body is stored as an earlier version of the settings would have stored it."""
    tried = set()
    for version in (known.newest, *known.earlier, UNPROTECTED):
        asks = (version.mode, version.kinds, version.hashes_actors)
        if asks in tried or (version.changes_feedback and known.pseudonyms is None):
            continue
        tried.add(asks)
        made = protected(sent, version, known.pseudonyms)
        if before == kind.document(made.entry.body):
            return True
    return False


def no_partition() -> Unavailable:
    return Unavailable(
        "The feedback log has no partition for this month: `thumbwheel doctor` says more.", code="no_partition"
    )


def _refused(error: Exception) -> Invalid:
    return Invalid(f"Postgres cannot store this body ({error}): change it before you retry.", code="unstorable")
