"""Reads files of JSON lines, plain or gzipped, one line at a time."""

import gzip
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from thumbwheel import wire
from thumbwheel.row_checks import RowFault, fault_of

from app.errors import Invalid
from app.feedback import signals
from app.feedback.importing.prompts_and_answers import Faulty
from app.feedback.importing.recognition import reason_to_refuse, remedy_for_long
from app.feedback.importing.shapes import SaysNothing, as_text, body_of, comment_of, ignored_fields, rows_of

MAX_LINE = 1 << 20  # bytes: the API's limit on one event
ID_LENGTH = 128
HEAD = 65_536  # bytes from which a file's format is recognised


class Imported(NamedTuple):
    """The event of a line, or of a comment in it.

    fault    the reason for which no run would learn from it
    ignored  fields of the row that the event does not hold
    """

    line: int
    event: wire.Event
    fault: RowFault | None = None
    ignored: tuple[str, ...] = ()


class Rejected(NamedTuple):
    """A broken line, with the fault as `reason`."""

    line: int
    reason: str


class Silent(NamedTuple):
    """A valid line without an event: equal answers, or an act that did not happen."""

    line: int
    reason: str


def read(path: Path) -> Iterator[Imported | Rejected | Silent]:
    """Yields the items of every line of `path` that is not empty. Event ids are derived from the content of the lines:
    importing a file again, even with its lines in another order, stores nothing new.

    A line may hold several events, as `{"events": […]}` or as a page of `GET /v1/feedback`: each gives an item.

    Raises `Invalid` if the file is recognised as another format than JSON lines, cannot be opened, or ends in the
    middle of its gzip stream.
    """
    seen: Counter[bytes] = Counter()
    for number, line in _lines(path):
        try:
            rows = rows_of(_decoded(line))
        except Faulty as fault:
            yield Rejected(number, str(fault))
            continue
        for row in rows:
            yield from _items(number, row, seen)


def _items(number: int, row: Any, seen: Counter[bytes]) -> Iterator[Imported | Rejected | Silent]:
    try:
        body = {**body_of(row), "event_id": _id_of(row, seen)}
        remark = comment_of(row)
    except Faulty as fault:
        yield Rejected(number, str(fault))
        return
    except SaysNothing as nothing:
        yield Silent(number, str(nothing))
        return
    # Rows without an actor get one each, so that none replaces the vote of another.
    body.setdefault("actor", f"unknown-{hashlib.sha256(body['event_id'].encode()).hexdigest()[:16]}")
    parsed = _parsed(number, body)
    yield parsed._replace(ignored=ignored_fields(row)) if isinstance(parsed, Imported) else parsed
    if remark is not None:
        digest = hashlib.sha256(body["event_id"].encode()).hexdigest()[:32]
        about = {name: value for name, value in body.items() if name != "supersedes"}
        yield _parsed(number, {**about, "signal": remark, "event_id": f"comment-{digest}"})


def _parsed(number: int, body: dict[str, Any]) -> Imported | Rejected:
    event = signals.parse(wire.Event, body)
    if isinstance(event, wire.Event):
        return Imported(number, event, _fault_of(event))
    return Rejected(number, "; ".join(f"{fault.pointer or 'the row'}: {fault.message}" for fault in event))


def _fault_of(event: wire.Event) -> RowFault | None:
    """Returns the reason for which a run would drop the event's texts, as far as it shows without a model."""
    answers = [None if event.completion is None else signals.answer_of(event.completion).as_sent]
    if isinstance(event.signal, wire.Edit):
        answers.append(event.signal.text)
    elif isinstance(event.signal, wire.Preference):
        answers.append(event.signal.rejected)
    faults: Iterator[RowFault | None]
    prompt = signals.document(event)["prompt"]
    if isinstance(prompt, str):
        faults = (fault_of(prompt, text) for text in answers if text is not None)
    else:
        messages = (
            {"role": "assistant", "content": answer} if isinstance(answer, str) else answer
            for answer in answers
            if answer is not None
        )
        faults = (fault_of(prompt, [message]) for message in messages)
    return next(filter(None, faults), None)


def _id_of(row: dict[str, Any], seen: Counter[bytes]) -> str:
    """Returns the row's own id, or one derived from its content and, for equal rows, from their order."""
    given = as_text(row.get("event_id", row.get("id")), "id")
    if isinstance(given, str) and given and len(given) <= ID_LENGTH:
        return given
    digest = hashlib.sha256(json.dumps(row, sort_keys=True, separators=(",", ":")).encode()).digest()[:16]
    seen[digest] += 1
    return f"row-{digest.hex()}-{seen[digest]}"


def _decoded(line: bytes) -> Any:
    if len(line) > MAX_LINE:
        raise Faulty(f"has over {MAX_LINE:,} bytes: {remedy_for_long(line)}")
    try:
        # Decoded strictly first: given bytes, json.loads also guesses UTF-16 and UTF-32.
        return json.loads(line.decode(), parse_constant=_no_number)
    except UnicodeDecodeError:
        raise Faulty("is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise Faulty(f"is not valid JSON: {error}") from None


def _no_number(name: str) -> Any:
    raise Faulty(f"is not valid JSON: {name} is not a number of JSON")


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yields the lines that are not empty, numbered from 1, each cut to at most `MAX_LINE` + 1 bytes."""
    if path.is_dir():
        raise Invalid(f"{path} is a directory: name its files, for example {path}/*.jsonl.", code="file_unreadable")
    try:
        with path.open("rb") as probe:
            zipped = probe.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if zipped else path.open("rb") as file:
            refusal = reason_to_refuse(file.read(HEAD))
            if refusal is not None:
                raise Invalid(f"{path} {refusal}", code="file_not_understood")
            file.seek(0)
            number = 0
            while line := file.readline(MAX_LINE + 1):
                number += 1
                while not line.endswith(b"\n") and len(line) > MAX_LINE and (rest := file.readline(MAX_LINE)):
                    if rest.endswith(b"\n"):
                        break
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if line.strip():
                    yield number, line
    except (OSError, EOFError, zlib.error) as error:
        raise Invalid(f"Cannot read {path}: {error}.", code="file_unreadable") from error
