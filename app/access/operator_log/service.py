"""Writes each action of an operator into the log, in the transaction of the action itself, and lists them.

A request begins its entry when its key is checked (`app.access.caller.may`), so that no operation can forget it. The
row is written right before the commit: an operation that fails leaves none, and one that succeeds cannot lack it.
"""

from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import event
from sqlalchemy.orm import Session
from thumbwheel import wire

from app.access.operator_log import store
from app.errors import Forbidden
from app.pages import Page, key_of_cursor, page_of

#: The name of the entry in the information of a session.
ENTRY = "operator action"
SERVER = "the server's command line"


@dataclass
class LogEntry:
    """An entry that is written when its transaction commits."""

    operation: str
    by: str
    key_id: UUID | None = None
    project: str | None = None
    request_id: str | None = None
    about: dict[str, Any] = field(default_factory=dict)


def begin(session: Session, entry: LogEntry) -> None:
    """Makes this session write the entry when it commits."""
    session.info[ENTRY] = entry
    event.listen(session, "before_commit", _write)


def note(session: Session, project: str | None = None, **about: Any) -> None:
    """Adds ids and names of what the action concerns: no texts, and no ids of actors, since entries outlive erasures.

    Does nothing outside of a logged request.
    """
    entry: LogEntry | None = session.info.get(ENTRY)
    if entry is not None:
        entry.project = project or entry.project
        entry.about |= {name: str(value) if isinstance(value, UUID) else value for name, value in about.items()}


def forget(session: Session) -> None:
    """Drops the entry, since the request changes nothing: it got the answer of an earlier one."""
    session.info.pop(ENTRY, None)


def record(session: Session, operation: str, *, by: str = SERVER, project: str | None = None, **about: Any) -> None:
    """Writes an entry for a command on the server, which needs no key, or for work that a rule of a project does."""
    store.insert_action(session, asdict(LogEntry(operation, by, project=project, about=about)))


def page(
    session: Session,
    *,
    within: str | None,
    project: str | None,
    operation: str | None,
    cursor: str | None,
    limit: int,
) -> Page[wire.OperatorAction]:
    """Returns a page of the log, newest first.

    within  the only project of the caller, None for all projects

    Raises `Forbidden` for another project.
    """
    if within is not None and project not in (None, within):
        raise Forbidden(f"Your key is limited to project {within}: leave out `project`.", code="other_project")
    rows = store.newest_first(session, within or project, operation, key_of_cursor(cursor, UUID), limit + 1)
    return page_of(rows, limit, lambda row: str(row.id), wire.OperatorAction.model_validate)


def _write(session: Session) -> None:
    """Writes the entry. SQLAlchemy also calls it before the release of a savepoint, when the action may go on."""
    if session.in_nested_transaction():
        return
    entry: LogEntry | None = session.info.pop(ENTRY, None)
    if entry is not None:
        store.insert_action(session, asdict(entry))
