"""Changes a body into what is stored of it by the settings of its project: texts are masked, actors hashed.

The changed body is read again by the rules for bodies, and its row and its derived id are made from that, so that what
was masked leaves no trace in any column.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from thumbwheel import wire

from app.errors import Fault, Faults, Invalid, ThumbwheelError
from app.feedback import signals
from app.feedback.ingest.entries import IngestEntry, completion_entry, event_entry, quick_entry
from app.feedback.ingest.redaction import Redactor
from app.projects.protection.pseudonyms import Pseudonyms
from app.projects.protection.setting import Protection


class HoldsPersonalData(Invalid):
    """A body that is not stored because of what its texts hold. `status`: what it counts as."""

    status = "invalid"


class ProtectedEntry(NamedTuple):
    """The form in which a body is stored by the settings `by`.

    refusal  why it is not stored
    found    the number of findings of each kind
    """

    entry: IngestEntry
    by: Protection
    refusal: ThumbwheelError | None = None
    found: Counter[str] = Counter()  # noqa: RUF012 - never changed


def protected(entry: IngestEntry, by: Protection, pseudonyms: Pseudonyms | None) -> ProtectedEntry:
    """Returns what is stored of a body.

    pseudonyms  needed where the settings change feedback
    """
    if by.mode == "off" and not by.hashes_actors:
        return ProtectedEntry(entry, by)
    body, known_as = entry.body, None
    document = msgspec.json.decode(body) if isinstance(body, bytes) else body.model_dump(mode="json")
    found: Counter[str] = Counter()
    if by.mode != "off":
        redactor = Redactor(by.kinds, pseudonyms.of_value if by.mode == "mask" and pseudonyms else None)
        (redactor.completion if isinstance(body, wire.Completion) else redactor.event)(document)
        found = Counter(kind for _, kind in redactor.found)
        if found and by.mode == "reject":
            return ProtectedEntry(entry, by, _refusal(redactor.found), found)
    if by.hashes_actors and "actor" in document:
        assert pseudonyms is not None
        sent = document["actor"]
        document["actor"] = pseudonyms.of_actor(sent)
        known_as = None if document["actor"] == sent else sent
    if not found and known_as is None:
        return ProtectedEntry(entry, by)
    changed = _entry(entry, document, known_as)
    if isinstance(changed, IngestEntry):
        return ProtectedEntry(changed, by, None, found)
    return ProtectedEntry(entry, by, changed, found)


def _entry(entry: IngestEntry, document: dict[str, Any], known_as: str | None) -> IngestEntry | Invalid:
    project, body = entry.row[0], entry.body
    if isinstance(body, bytes):
        encoded = msgspec.json.encode(document)
        quick = quick_entry(project, encoded, known_as)
        if quick is not None:
            return quick
    model = wire.Event if isinstance(body, bytes) else type(body)
    read = signals.parse(model, document)
    if isinstance(read, Faults):
        return Invalid(
            f"With placeholders in place of personal data, this cannot be stored: {read.sentence()}",
            code="not_maskable",
            faults=read,
        )
    if isinstance(read, wire.Completion):
        return completion_entry(project, entry.row[1], read)
    return event_entry(project, read, known_as)


def _refusal(found: Sequence[tuple[str, str]]) -> HoldsPersonalData:
    by_place: dict[str, list[str]] = {}
    for place, kind in found:
        kinds = by_place.setdefault(place, [])
        if kind not in kinds:
            kinds.append(kind)
    faults = Faults(
        (
            Fault(place, f"holds {', '.join(kinds)}, which this project does not store: remove or replace it")
            for place, kinds in by_place.items()
        ),
        len(by_place),
    )
    kinds = sorted({kind for _, kind in found})
    return HoldsPersonalData(faults.sentence(), code="personal_data", faults=faults, details={"kinds": kinds})
