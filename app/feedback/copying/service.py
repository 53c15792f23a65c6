"""Copies a log out page by page, and in again row by row, so that the copy gives the same labels and snapshots.

Labels depend on more than the bodies of events: on their order, on the time of receipt where no other time was sent,
and on the receipt of the newest one. So a copied row keeps its position and its time of receipt, and is stored only
behind all rows that the log has: the copy of a log is equal to it, and a log with other feedback is left as it is.
"""

import gzip
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, TypeVar

import msgspec
from sqlalchemy.orm import Session
from thumbwheel import wire

from app.errors import Conflict, Fault, Faults, Invalid
from app.feedback import service as feedback
from app.feedback import signals
from app.feedback.copying import store
from app.feedback.copying.store import LogPlace
from app.feedback.expiry.service import keeps_from
from app.feedback.ingest.entries import IngestEntry, completion_entry, event_entry
from app.feedback.ingest.known_protections import protected_by
from app.projects import service as projects
from app.projects.protection import service as protections
from app.projects.protection.setting import ProjectProtection
from app.web import json_limits

#: The bounds of a page: rows, and bytes of their texts.
PAGE_ROWS, PAGE_BYTES = 5000, 8 * 1024 * 1024
#: The least compression: beyond it, a page takes longer to compress than to read.
GZIP_LEVEL = 1
#: The largest number of values in a row: each token and each log-prob of a completion counts as one.
ROW_VALUES = 2 * wire.feedback.MAX_TOKENS + json_limits.MOST_VALUES

Copied = wire.CopiedEvent | wire.CopiedCompletion
Row = TypeVar("Row", wire.CopiedEvent, wire.CopiedCompletion)

_REMEDY = "Copy into a project without feedback, or send the events as new ones with `thumbwheel import FILE`."


def end(session: Session, project: str) -> wire.LogEnd:
    """Returns the end of the log."""
    erasures = projects.erasures(session, project)  # first: an erasure that ends meanwhile is noticed at the next look
    return wire.LogEnd(watermark=feedback.watermark(session, project), erasures=erasures)


def page(
    session: Session, project: str, table: wire.LogKind, *, after: int, until: int | None, compress: bool
) -> bytes:
    """Returns the rows after position `after` up to the watermark `until` (None: the log's end) as JSON lines, in the
    order of the log: the first `PAGE_ROWS`, fewer if they are long, none at the end."""
    last = feedback.watermark(session, project) if until is None else until
    lines = store.lines(session, project, table, after=after, until=last, limit=PAGE_ROWS, size=PAGE_BYTES)
    content = "".join(f"{line}\n" for line in lines).encode()
    return gzip.compress(content, GZIP_LEVEL) if compress else content


def copied_rows(lines: Sequence[bytes]) -> list[Copied]:
    """Parses rows of another log. Raises `Invalid`, naming the line and the field."""
    rows: list[Copied] = []
    for number, line in enumerate(lines):
        row = _row(number, line)
        if rows and row.position <= rows[-1].position:
            raise _wrong(number, [Fault("/position", "is not after that of the line before: send rows in their order")])
        rows.append(row)
    return rows


def copy_in(session: Session, project: str, rows: Sequence[Copied]) -> wire.CopyReceipt:
    """Stores rows of another log behind the rows of this one, with their positions and times of receipt: all of them,
    or none. Rows that are there already, events of erased actors, and events of months that the project no longer keeps
    are counted.

    They are stored by the settings on redaction and actors of this project. Texts that are masked and actors that are
    hashed stay as they are: the hashes are those of the project that they come from.

    Raises `Conflict` if a row is not there and would not be behind all others, or if its id is taken, `Invalid` for
    personal data that the project refuses, and `Unavailable` without the key of pseudonyms.
    """
    months = projects.require_open(session, project).retention.months
    events, expired = _kept([row for row in rows if isinstance(row, wire.CopiedEvent)], months)
    _make_months(session, events)
    store.lock(session, project)
    known = protections.protection_of(session, project)  # under the lock, so that no change of them is missed
    newest = feedback.watermark(session, project) or store.last_taken(session, project)
    completions = [row for row in rows if isinstance(row, wire.CopiedCompletion)]
    forms = {actor: known.forms_of(actor) for actor in {event.actor for event in events}}
    erased = store.erased(session, project, sorted(set(chain.from_iterable(forms.values()))))
    allowed = [event for event in events if erased.isdisjoint(forms[event.actor])]
    new_events = _new(session, project, "events", {event.event_id: event for event in allowed}, newest)
    new_completions = _new(session, project, "completions", {each.completion_id: each for each in completions}, newest)
    if new_events:
        entries = [_protected(known, event_entry(project, event)) for event in new_events]
        store.insert_events(session, entries, [_place(event) for event in new_events])
    if new_completions:
        entries = [_protected(known, completion_entry(project, each.completion_id, each)) for each in new_completions]
        store.insert_completions(session, entries, [_place(each) for each in new_completions])
    positions = [event.position for event in new_events] + [each.position for each in new_completions]
    if positions:
        newest = max(positions)
        store.continue_after(session, project, newest)
    refused = len(events) - len(allowed)
    return wire.CopyReceipt(
        stored=len(positions),
        replayed=len(rows) - refused - expired - len(positions),
        erased=refused,
        expired=expired,
        watermark=newest,
    )


class _Kind(msgspec.Struct):
    """The field that tells an event from a registered completion."""

    event_id: str | None = None


_KIND = msgspec.json.Decoder(_Kind)


def _row(number: int, line: bytes) -> Copied:
    if (reason := json_limits.reason_to_refuse(line, ROW_VALUES)) is not None:
        raise _wrong(number, [Fault("", reason)])
    try:
        row: Copied | Faults
        if _KIND.decode(line).event_id is not None:
            row = signals.read(wire.CopiedEvent, line)
        else:
            row = signals.read(wire.CopiedCompletion, line)
    except ValueError as error:
        raise _wrong(number, [Fault("", f"is not a row of JSON ({error})")]) from error
    if isinstance(row, list):
        raise _wrong(number, row)
    return row


def _wrong(number: int, faults: Sequence[Fault]) -> Invalid:
    named = Faults([Fault(f"/{number}{fault.pointer}", fault.message) for fault in faults], len(faults))
    return Invalid(f"Line {number + 1} is no row of a log: {named.sentence()}", code="invalid_request", faults=named)


def _new(session: Session, project: str, table: wire.LogKind, rows: Mapping[str, Row], newest: int) -> list[Row]:
    """Returns those rows, by id, that the log does not have yet. Raises `Conflict`."""
    there = store.places(session, project, table, rows)
    new = []
    for own_id, row in rows.items():
        if own_id in there:
            if there[own_id] != _place(row):
                raise Conflict(
                    f"{own_id} is in the log of {project} already, at position {there[own_id].position} and not "
                    f"{row.position}: the project has other feedback. {_REMEDY}",
                    code="log_has_other_rows",
                )
        elif row.position <= newest:
            raise Conflict(
                f"The log of {project} goes up to position {newest} and does not have {own_id}, which was at "
                f"{row.position}: the project has other feedback. {_REMEDY}",
                code="log_has_other_rows",
            )
        else:
            new.append(row)
    return new


def _protected(known: ProjectProtection, entry: IngestEntry) -> tuple[Any, ...]:
    """Returns the row that is stored of an entry. Raises `Invalid`, which names its id, and `Unavailable`."""
    made = protected_by(known, entry)
    if isinstance(made.refusal, Invalid):
        message = f"{entry.row[1]} cannot be stored. {made.refusal.message}"
        raise Invalid(message, code=made.refusal.code, faults=made.refusal.faults, details=made.refusal.details)
    if made.refusal is not None:
        raise made.refusal
    return made.entry.row


def _place(row: Copied) -> LogPlace:
    return LogPlace(row.position, row.received_at)


def _kept(events: Sequence[wire.CopiedEvent], months: int | None) -> tuple[list[wire.CopiedEvent], int]:
    """Returns the events that the project's retention keeps, and the number of the others."""
    if months is None:
        return list(events), 0
    since = keeps_from(months)
    kept = [event for event in events if event.received_at >= since]
    return kept, len(events) - len(kept)


def _make_months(session: Session, events: Sequence[wire.CopiedEvent]) -> None:
    """Creates the partitions for the months in which the events were received, unless the default one has
    events of such a month."""
    received = (event.received_at for event in events)
    for start, after in sorted(set(map(feedback.month_of, received))):
        if not store.has_rows_without_month(session, start, after):
            feedback.make_month(session, start, after)
