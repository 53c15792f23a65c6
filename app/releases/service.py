"""The ledger of what was shipped when, and why. Entries are appended and never changed."""

from dataclasses import dataclass

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.checkpoints import service as checkpoints
from app.errors import Refused
from app.projects import service as projects
from app.releases import store
from app.releases.tables import Release
from app.schema import MAX_INT4, Page, key_of_cursor, number_up_to, page_of

REASON_CHARACTERS = 500  # of the ledger's column


def current(session: Session, project: str) -> wire.CurrentRelease:
    """What is live. The ledger begins with the base model, written at the first look. Raises `NotFound`."""
    row = _live(session, project)
    checkpoint = checkpoints.get(session, project, row.checkpoint_id)
    return wire.CurrentRelease.model_validate(
        {
            **_shown(row).model_dump(),
            "checkpoint": checkpoint,
            "base_model": checkpoint.base_model,
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
    """A new entry of the ledger, before it is written."""

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
    _require_line(checkpoint, projects.get(session, project).base_model)
    if checkpoint.verdict == "failed" and new.override_reason is None:
        raise Refused(
            f"The gates refused checkpoint {checkpoint.id}: ship another one, or give override_reason, which is "
            "recorded for good.",
            code="gates_failed",
            reasons=checkpoint.reasons,
        )
    return Entry(live.number + 1, checkpoint, "ship", new.override_reason)


def start_over(session: Session, project: str, new: wire.NewBaseModel, by: str) -> wire.Release:
    """Makes another base model the project's, and live: a new line of ancestry begins, in which no earlier checkpoint
    is a reference or may ship. The same base model once more changes nothing.

    Raises `Invalid` where the folder holds no base model, `NotFound` for an unknown project.
    """
    before = projects.lock(session, project).base_model
    live = _live(session, project)
    if before == new.base_model:
        return _shown(live)
    projects.change_base_model(session, project, new.base_model)
    base = checkpoints.get(session, project, checkpoints.base_of(session, project).id)
    reason = f"base model {new.base_model} instead of {before}" + (f": {new.reason}" if new.reason else "")
    entry = Entry(live.number + 1, base, "start", override_reason=None)
    return _shown(_append(session, project, entry, reason[:REASON_CHARACTERS], by))


def page(session: Session, project: str, *, cursor: str | None, limit: int) -> Page[wire.Release]:
    """The project's ledger, newest first."""
    _live(session, project)
    rows = store.newest_first(session, project, key_of_cursor(cursor, number_up_to(MAX_INT4)), limit + 1)
    return page_of(rows, limit, lambda row: str(row.number), _shown)


def _require_line(checkpoint: wire.Checkpoint, base_model: str) -> None:
    if checkpoint.base_model != base_model:
        raise Refused(
            f"Checkpoint {checkpoint.id} descends from the base model {checkpoint.base_model}, and the project's is "
            f"{base_model}: change it back first (PUT /v1/projects/{{project}}/base-model).",
            code="other_base_model",
        )


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
        elif entry.action == "start":
            ways = [entry]  # what came before descends from another base model
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
