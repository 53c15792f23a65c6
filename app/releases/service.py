"""Ships checkpoints and records each release, with its reason, in a ledger. Entries are appended and never changed.

The newest entry of an action that changes what is live is the live release. If the newest entry of all is a canary, a
share of the actors gets its checkpoint instead; every other entry ends the canary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire
from thumbwheel.assignment import in_canary

from app import messages, outbox
from app.access.operator_log import service as operator_log
from app.checkpoints import service as checkpoints
from app.errors import Refused
from app.pages import MAX_INT4, Page, key_of_cursor, number_up_to, page_of
from app.projects import service as projects
from app.releases import store
from app.releases.override import OPEN_VERDICTS, scope_of
from app.releases.tables import Release
from app.webhooks import service as webhooks

REASON_CHARACTERS = 500  # width of the ledger's column
#: The webhook of each action of the ledger.
WEBHOOKS = {
    "ship": "release.shipped",
    "rollback": "release.rolled_back",
    "start": "release.started_over",
    "canary": "release.canary",
    "end_canary": "release.canary_ended",
}


def current(session: Session, project: str) -> wire.CurrentRelease:
    """Returns the live release with its checkpoint, and the canary beside it. Raises `NotFound`."""
    row = _live(session, project)
    canary = _canary(session, project)
    checkpoint = checkpoints.get(session, project, row.checkpoint_id)
    return wire.CurrentRelease.model_validate(
        {
            **_shown(row).model_dump(),
            "checkpoint": checkpoint,
            "base_model": checkpoint.base_model,
            "canary": canary and _shown(canary),
        }
    )


def current_of_all(session: Session) -> dict[str, tuple[wire.Release, wire.Release | None]]:
    """Returns the live release of each project, and the canary beside it."""
    canaries = {row.project_id: row for row in store.newest_of_each(session) if row.action == "canary"}
    live = store.newest_of_each(session, store.LIVE_ACTIONS)
    return {
        row.project_id: (_shown(row), _shown(canaries[row.project_id]) if row.project_id in canaries else None)
        for row in live
    }


def assignment(session: Session, project: str, actor: str) -> wire.Assignment:
    """Returns the release that the actor gets, which stays the same until the ledger changes. Raises `NotFound`."""
    canary = _canary(session, project)
    in_share = canary is not None and in_canary(project, canary.checkpoint_id, actor, canary.share or 0.0)
    row = canary if canary is not None and in_share else _live(session, project)
    return wire.Assignment(
        project=project,
        actor=actor,
        canary=in_share,
        checkpoint_id=row.checkpoint_id,
        release_id=row.id,
        release_number=row.number,
    )


def begin(session: Session, project: str) -> None:
    """Begins the ledger of a project that was just inserted: its base model is live."""
    base = checkpoints.get(session, project, checkpoints.register_base(session, project).id)
    _append(session, project, LedgerEntry(1, base, "start", None, None), "the project's base model", "thumbwheel")


def ship(session: Session, project: str, new: wire.NewRelease, by: str) -> wire.Release:
    """Ships a checkpoint to all actors or to a share of them, or rolls back: from a canary to the live release, else to
    the one that was live before.

    Raises `Refused` if the gates did not pass and no override covers them, `Invalid` for a scope that names another
    rule; `Refused` if files of the checkpoint are damaged, if it
    is live already, or if there is no release to roll back to; `NotFound` for an unknown checkpoint; `Unavailable`
    while its files are verified.
    """
    return _shown(_append(session, project, _locked(session, project, new), new.reason, by))


@dataclass(frozen=True)
class LedgerEntry:
    """A new entry of the ledger, before it is written."""

    number: int
    checkpoint: wire.Checkpoint
    action: str
    override_reason: str | None
    override_scope: list[str] | None
    share: float | None = None


def _next(session: Session, project: str, new: wire.NewRelease) -> LedgerEntry:
    live, canary = _live(session, project), _canary(session, project)
    number = _next_number(session, project)
    if new.rollback and canary is not None:
        checkpoint = checkpoints.get(session, project, canary.checkpoint_id)
        return LedgerEntry(number, checkpoint, "end_canary", canary.override_reason, canary.override_scope)
    if new.rollback:
        return _roll_back(session, project, new)
    assert new.checkpoint_id is not None
    checkpoint = checkpoints.get(session, project, new.checkpoint_id)
    if checkpoint.id == live.checkpoint_id:
        raise Refused(f"Checkpoint {checkpoint.id} is live already.", code="live_already")
    if canary is not None and (checkpoint.id, new.share) == (canary.checkpoint_id, canary.share):
        raise Refused(
            f"Checkpoint {checkpoint.id} is a canary with this share already: give another share, or none to ship it "
            "to all actors.",
            code="canary_already",
        )
    _require_line(checkpoint, projects.get(session, project).base_model)
    action = "ship" if new.share is None else "canary"
    return LedgerEntry(number, checkpoint, action, new.override_reason, scope_of(checkpoint, new), new.share)


def roll_back_if(
    session: Session, project: str, decide: Callable[[], wire.RollbackDecision | None], by: str
) -> wire.Release | None:
    """Rolls back as `ship` does if `decide` returns a decision, which the entry of the ledger keeps.

    It is asked again under the project's lock, as its facts may have changed while the weights were verified. Raises as
    `ship` does.
    """
    decision = decide()
    if decision is None:
        return None
    new = wire.NewRelease(rollback=True, reason=decision.reason[:REASON_CHARACTERS])
    entry = _locked(session, project, new)
    decision = decide()
    return None if decision is None else _shown(_append(session, project, entry, new.reason, by, decision))


def _locked(session: Session, project: str, new: wire.NewRelease) -> LedgerEntry:
    """Locks the project and returns the next entry. Raises as `ship` does."""
    # The weights are verified before the lock is taken, so that no other request waits for it.
    planned = _next(session, project, new)
    if planned.action != "end_canary":  # nobody gets those weights any more
        checkpoints.require_whole(session, project, planned.checkpoint.id)
    projects.lock(session, project)
    entry = _next(session, project, new)
    if (entry.action, entry.checkpoint.id) != (planned.action, planned.checkpoint.id):
        raise Refused(
            "Another release was written in the meantime: check the live release, then repeat the request.",
            code="released_meanwhile",
        )
    return entry


def start_over(session: Session, project: str, new: wire.NewBaseModel, by: str) -> wire.Release:
    """Changes the project's base model and makes it live. A new line of ancestry begins, in which no earlier checkpoint
    is a reference or may ship. The current base model changes nothing.

    Raises `Invalid` if the folder has no base model, `NotFound` for an unknown project.
    """
    before = projects.lock(session, project).base_model
    live = _live(session, project)
    if before == new.base_model:
        return _shown(live)
    projects.change_base_model(session, project, new.base_model)
    base = checkpoints.get(session, project, checkpoints.register_base(session, project).id)
    reason = f"base model {new.base_model} instead of {before}" + (f": {new.reason}" if new.reason else "")
    entry = LedgerEntry(_next_number(session, project), base, "start", override_reason=None, override_scope=None)
    return _shown(_append(session, project, entry, reason[:REASON_CHARACTERS], by))


def ledger(session: Session, project: str, limit: int) -> list[wire.Release]:
    """Returns the newest entries of the ledger, oldest first. Raises `NotFound`."""
    projects.get(session, project)
    return [_shown(row) for row in reversed(store.newest_first(session, project, None, limit))]


def page(session: Session, project: str, *, cursor: str | None, limit: int) -> Page[wire.Release]:
    """Returns the project's ledger, newest first. Raises `NotFound`."""
    projects.get(session, project)
    rows = store.newest_first(session, project, key_of_cursor(cursor, number_up_to(MAX_INT4)), limit + 1)
    return page_of(rows, limit, lambda row: str(row.number), _shown)


def project_of(session: Session, release_id: UUID) -> str | None:
    """Returns the project of a release, None if there is no such release."""
    return store.project_of(session, release_id)


def newest_at(session: Session, project: str) -> datetime:
    """Returns when the ledger of the project changed last."""
    row = store.newest(session, project)
    assert row is not None, "the first release is written with its project"
    return row.created_at


def _require_line(checkpoint: wire.Checkpoint, base_model: str) -> None:
    if checkpoint.base_model != base_model:
        raise Refused(
            f"Checkpoint {checkpoint.id} descends from the base model {checkpoint.base_model}, and the project's is "
            f"{base_model}: change that first (PUT /v1/projects/{{project}}/base-model).",
            code="other_base_model",
        )


def _live(session: Session, project: str) -> Release:
    row = store.live(session, project)
    if row is None:
        projects.get(session, project)
        raise AssertionError(f"project {project} has no release, although its first one is written with its row")
    return row


def _canary(session: Session, project: str) -> Release | None:
    row = store.newest(session, project)
    return row if row is not None and row.action == "canary" else None


def _next_number(session: Session, project: str) -> int:
    row = store.newest(session, project)
    return 1 if row is None else row.number + 1


def _roll_back(session: Session, project: str, new: wire.NewRelease) -> LedgerEntry:
    """Returns the entry of a rollback. A second rollback goes one release further back; it does not undo the first."""
    shipped: list[Release] = []
    for entry in reversed(store.newest_first(session, project, None, None)):
        if entry.action == "rollback":
            shipped.pop()
        elif entry.action == "start":
            shipped = [entry]  # earlier entries descend from another base model
        elif entry.action == "ship":
            shipped.append(entry)
    if len(shipped) < 2:
        raise Refused(
            f"The base model of project {project} is live: there is no earlier release to roll back to.",
            code="nothing_to_roll_back_to",
        )
    earlier = shipped[-2]
    checkpoint = checkpoints.get(session, project, earlier.checkpoint_id)
    # An earlier override of its gates had a reason, so a rollback to it needs no new reason.
    if new.override_reason is None and checkpoint.verdict in OPEN_VERDICTS:
        reason, scope = earlier.override_reason, earlier.override_scope
    else:
        reason, scope = new.override_reason, scope_of(checkpoint, new)
    return LedgerEntry(_next_number(session, project), checkpoint, "rollback", reason, scope)


def _append(
    session: Session,
    project: str,
    entry: LedgerEntry,
    reason: str,
    by: str,
    decision: wire.RollbackDecision | None = None,
) -> Release:
    """Appends the entry, and tells webhooks and serving targets of it once it is committed."""
    values = {
        "number": entry.number,
        "checkpoint_id": entry.checkpoint.id,
        "verdict": entry.checkpoint.verdict,
        "share": entry.share,
        "reason": reason,
        "override_reason": entry.override_reason,
        "override_scope": entry.override_scope,
        "decision": None if decision is None else decision.model_dump(mode="json"),
        "by": by,
    }
    row = store.append(session, {**values, "project_id": project, "action": entry.action})
    overridden = entry.override_reason is not None
    operator_log.note(session, release=entry.number, checkpoint_id=entry.checkpoint.id, overridden=overridden)
    url = webhooks.link(project, f"/v1/checkpoints/{entry.checkpoint.id}")
    canary = entry.checkpoint.id if entry.action == "canary" else None
    data = wire.ReleaseWebhookData.model_validate(
        {
            **values,
            "project": project,
            "url": url,
            "live_checkpoint_id": _live(session, project).checkpoint_id,
            "canary_checkpoint_id": canary,
        }
    )
    webhooks.publish(session, project, WEBHOOKS[entry.action], data)
    outbox.put(session, messages.LOOK_AT_RELEASE, release_id=row.id)
    return row


def _shown(row: Release) -> wire.Release:
    return wire.Release.model_validate(
        {
            **{name: getattr(row, name) for name in wire.Release.model_fields if name != "project"},
            "project": row.project_id,
        }
    )
