"""Counts the outcomes of the records of one imported file, with reasons. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from app.feedback.importing.items import Imported, Item, Registered, Rejected, Silent
from app.feedback.importing.printable import printable

LINES_SHOWN = 3
ROWS_SHOWN = 10
#: Reasons that quote values may be many: from then on they are counted together.
MOST_REASONS = 1000
OTHER_REASONS = "other reasons"

#: A rejected record: its file, its number by the name of the unit, and the reason.
Reject = dict[str, Any]


def _forget(_reject: Reject) -> None:
    """Takes a rejected record that nobody lists."""


@dataclass
class ImportOutcome:
    """The outcome of the records of one file.

    unit            what its records are numbered by: line, item or row
    registered      the number of completions that were registered
    superseded      the number of events that replaced an older version of themselves
    skipped         the number of events and completions that an interrupted import had sent already
    reasons         the number of rejected and silent records by reason
    says_nothing    the number of silent records by reason
    not_trained     the number of stored events that no run would learn from, by reason
    ignored         the number of records by field that events do not store
    first_lines     the numbers of the first few records of each reason
    rows            the first events and completions, for a dry run
    not_understood  the reason why a file of a folder or an archive was passed over
    on_reject       takes each rejected record
    worded          returns a reason in the words in which it is kept: reasons may quote values
    """

    file: str
    unit: str = "line"
    stored: int = 0
    registered: int = 0
    superseded: int = 0
    replayed: int = 0
    skipped: int = 0
    rejected: int = 0
    silent: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    says_nothing: Counter[str] = field(default_factory=Counter)
    not_trained: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    first_lines: dict[str, list[int]] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    not_understood: str | None = None
    on_reject: Callable[[Reject], None] = _forget
    worded: Callable[[str], str] = str

    @property
    def understood(self) -> bool:
        return bool(self.stored + self.registered + self.superseded + self.replayed + self.skipped + self.silent)

    def reject(self, line: int, reason: str) -> None:
        self.rejected += 1
        reason = printable(self.worded(reason))
        self._count(self.reasons, line, reason)
        self.on_reject({"file": self.file, self.unit: line, "reason": reason})

    def count_silent(self, line: int, reason: str) -> None:
        self.silent += 1
        counted = self._count(self.reasons, line, printable(self.worded(reason)))
        self.says_nothing[counted] += 1

    def count_losses(self, item: Imported | Registered) -> None:
        """Counts the fields that an event loses, and the reason if no run would learn from it."""
        for name in map(printable, item.ignored):
            if name in self.ignored or len(self.ignored) < MOST_REASONS:
                self.ignored[name] += 1
        if item.fault is not None:
            self._count(self.not_trained, item.line, self.worded(item.fault.sentence))

    def count_read(self, items: Iterable[Item]) -> list[Imported | Registered]:
        """Counts the rejected and silent records among the items, and what others lose; returns those others."""
        good: list[Imported | Registered] = []
        for item in items:
            if isinstance(item, Rejected):
                self.reject(item.line, item.reason)
            elif isinstance(item, Silent):
                self.count_silent(item.line, item.reason)
            else:
                self.count_losses(item)
                good.append(item)
        return good

    def show(self, item: Imported | Registered) -> None:
        """Keeps one of the first items to be shown."""
        if len(self.rows) < ROWS_SHOWN:
            self.rows.append(_row(item, self.unit))

    def document(self) -> dict[str, Any]:
        """Returns the outcome as JSON values."""
        hidden = {"on_reject", "worded"} | ({"rows"} if not self.rows else set())
        return {name: value for name, value in vars(self).items() if name not in hidden}

    def _count(self, reasons: Counter[str], line: int, reason: str) -> str:
        """Counts a reason, and returns the one under which it was counted."""
        if reason not in reasons and len(reasons) >= MOST_REASONS:
            reason = OTHER_REASONS
        reasons[reason] += 1
        lines = self.first_lines.setdefault(reason, [])
        if len(lines) < LINES_SHOWN:
            lines.append(line)
        return reason


def outcome_of(document: Mapping[str, Any]) -> ImportOutcome:
    """Returns the outcome that a document shows."""
    known = {each.name for each in fields(ImportOutcome)} - {"on_reject", "worded"}
    values = {name: value for name, value in document.items() if name in known and value is not None}
    counters = {name: Counter(values.get(name, {})) for name in ("reasons", "says_nothing", "not_trained", "ignored")}
    return ImportOutcome(**{**values, **counters})


def _row(item: Imported | Registered, unit: str) -> dict[str, Any]:
    if isinstance(item, Imported):
        event = item.event
        signal = {name: value for name, value in event.signal.model_dump(exclude_none=True).items() if name != "kind"}
        texts, about = (event.prompt, event.completion), event.completion_id
        what: dict[str, Any] = {"signal": event.signal.kind, "value": signal, "actor": event.actor}
    else:
        texts, about = (item.completion.prompt, item.completion.completion), item.completion_id
        what = {"signal": None, "value": {}, "actor": None}
    prompt, completion = map(_as_json, texts)
    return {unit: item.line, "completion_id": about, **what, "prompt": prompt, "completion": completion}


def _as_json(text: Any) -> Any:
    """Returns a prompt or a completion as JSON values."""
    if isinstance(text, list):
        return [_as_json(message) for message in text]
    return text if text is None or isinstance(text, str) else text.model_dump(mode="json", exclude_none=True)
