"""The ledger of what was shipped when, and why. Entries are appended and never changed."""

from dataclasses import dataclass

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.checkpoints import service as checkpoints
from app.errors import Refused
from app.projects import service as projects
from app.releases import store
from app.releases.tables import Release
from app.schema import Page, key_of_cursor, page_of


def current(session: Session, project: str) -> wire.CurrentRelease:
    """What is live. The ledger begins with the base model, written at the first look. Raises `NotFound`."""
    base_model = projects.get(session, project).base_model
    row = _live(session, project)
    return wire.CurrentRelease.model_validate(
        {
            **_shown(row).model_dump(),
            "checkpoint": checkpoints.get(session, project, row.checkpoint_id),
            "base_model": base_model,
        }
    )


def ship(session: Session, project: str, new: wire.NewRelease, by: str) -> wire.Release:
    """Ship a checkpoint, or roll back to the one that was live before the current one.

    Raises `Refused` where the gates failed and there is no reason why it may ship all the same, where its files are
    damaged, where it is live already, and where there is nothing to roll back to; `NotFound` for an unknown checkpoint;
    `Unavailable` while its files are verified.
    """
    # Verified before the lock is taken: reading all of the weights keeps nobody else waiting.
    verified = _next(session, project, new).checkpoint.id
    checkpoints.require_whole(session, project, verified)
    projects.lock(session, project)
    entry = _next(session, project, new)
    if entry.checkpoint.id != verified:
        raise Refused(
            "Another release was written meanwhile: look at what is live, then repeat the request.",
            code="released_meanwhile",
        )
    return _shown(_append(session, project, entry, new.reason, by))


@dataclass(frozen=True)
class Entry:
    """What the ledger is to gain."""

    number: int
    checkpoint: wire.Checkpoint
    action: str
    override_reason: str | None


def _next(session: Session, project: str, new: wire.NewRelease) -> Entry:
    live = _live(session, project)
    if new.rollback:
        return _roll_back(session, project, live, new)
    assert new.checkpoint_id is not None
    checkpoint = checkpoints.get(session, project, new.checkpoint_id)
    if checkpoint.id == live.checkpoint_id:
        raise Refused(f"Checkpoint {checkpoint.id} is live already.", code="live_already")
    if checkpoint.verdict == "failed" and new.override_reason is None:
        raise Refused(
            f"The gates refused checkpoint {checkpoint.id}: ship another one, or give override_reason, which is "
            "recorded for good.",
            code="gates_failed",
            reasons=checkpoint.reasons,
        )
    return Entry(live.number + 1, checkpoint, "ship", new.override_reason)


def page(session: Session, project: str, *, cursor: str | None, limit: int) -> Page[wire.Release]:
    """The project's ledger, newest first."""
    _live(session, project)
    rows = store.newest_first(session, project, key_of_cursor(cursor, int), limit + 1)
    return page_of(rows, limit, lambda row: str(row.number), _shown)


def _live(session: Session, project: str) -> Release:
    found = store.newest(session, project)
    if found is not None:
        return found
    projects.lock(session, project)
    found = store.newest(session, project)
    if found is not None:
        return found
    base = checkpoints.get(session, project, checkpoints.base_of(session, project).id)
    return _append(session, project, Entry(1, base, "start", None), "the project's base model", "thumbwheel")


def _roll_back(session: Session, project: str, live: Release, new: wire.NewRelease) -> Entry:
    """A second rollback goes one further back: it never ships again what the first one took away."""
    ways: list[Release] = []
    for entry in reversed(store.newest_first(session, project, None, None)):
        if entry.action == "rollback":
            ways.pop()
        else:
            ways.append(entry)
    if len(ways) < 2:
        raise Refused(
            f"The base model of project {project} is live: there is nothing before it to roll back to.",
            code="nothing_to_roll_back_to",
        )
    earlier = ways[-2]
    checkpoint = checkpoints.get(session, project, earlier.checkpoint_id)
    # Whoever shipped it against its gates said why; going back to it must not wait for another reason.
    overridden = earlier.override_reason if checkpoint.verdict == "failed" else None
    return Entry(live.number + 1, checkpoint, "rollback", new.override_reason or overridden)


def _append(session: Session, project: str, entry: Entry, reason: str, by: str) -> Release:
    return store.append(
        session,
        {
            "project_id": project,
            "number": entry.number,
            "checkpoint_id": entry.checkpoint.id,
            "verdict": entry.checkpoint.verdict,
            "action": entry.action,
            "reason": reason,
            "override_reason": entry.override_reason,
            "by": by,
        },
    )


def _shown(row: Release) -> wire.Release:
    return wire.Release.model_validate(
        {
            **{name: getattr(row, name) for name in wire.Release.model_fields if name != "project"},
            "project": row.project_id,
        }
    )
