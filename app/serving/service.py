"""Serving targets as operators see them: what each should serve, what it was seen to serve, and what it would refuse.

    release ─▶ message ─▶ a worker claims each target ─▶ publishes, loads, probes ─▶ seen ─▶ unloads the one before

The ledger of releases says what is desired, and nothing here changes it. `app.serving.leases` is the workers' side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy.orm import Session
from thumbwheel import wire
from thumbwheel.wire.recipe import Recipe, recipe_of
from thumbwheel.wire.serving import ServerSettings

from app import messages, outbox
from app.database import now
from app.errors import Conflict, Fault, NotFound, Refused
from app.pages import Page, key_of_cursor, page_of, storable_key
from app.projects import service as projects
from app.releases import service as releases
from app.serving import store
from app.serving.leases import service as leases
from app.serving.leases.service import SETTINGS
from app.serving.refusals import RecipeRefusal, refusals_of_recipe
from app.serving.tables import ServingTarget

#: The largest number of targets of a project.
MOST_TARGETS = 20
#: A target that differs for longer, or that no worker has looked at for longer, is an alarm.
ALARM = timedelta(minutes=5)
#: The time that workers have to answer a message before the tick sends another one.
PATIENCE = timedelta(seconds=30)


# -- operators --------------------------------------------------------------------------------------------------------


def create(session: Session, project: str, new: wire.NewServingTarget, by: str) -> wire.ServingTarget:
    """Stores a target; workers look at it after the commit. Its notices say what it would refuse of the project's
    recipe. Raises `NotFound`, and `Conflict` for a name that is taken or too many targets.
    """
    projects.lock(session, project)
    if store.of_name(session, project, new.name) is not None:
        raise Conflict(f"Project {project} has a target {new.name} already: choose another name.", code="target_exists")
    if len(store.of_project(session, project)) >= MOST_TARGETS:
        raise Conflict(f"Project {project} has {MOST_TARGETS} targets: delete one.", code="too_many_targets")
    row = store.insert_target(
        session,
        {
            "project_id": project,
            "name": new.name,
            "settings": new.settings.model_dump(mode="json"),
            "enabled": new.enabled,
            "created_by": by,
        },
    )
    _ring(session, row)
    return _shown(session, project, [row])[0]


def get(session: Session, project: str, name: str) -> wire.ServingTarget:
    """Returns a target. Raises `NotFound`."""
    return _shown(session, project, [_require(session, project, name)])[0]


def page(session: Session, project: str, *, cursor: str | None, limit: int) -> Page[wire.ServingTarget]:
    """Returns a page of the targets, by name."""
    rows = store.after_name(session, project, key_of_cursor(cursor, storable_key) or "", limit + 1)
    shown = {target.id: target for target in _shown(session, project, rows)}
    return page_of(rows, limit, lambda row: row.name, lambda row: shown[row.id])


def change(session: Session, project: str, name: str, change: wire.ServingTargetChange) -> wire.ServingTarget:
    """Changes a target. Other settings may mean another server, so what was seen is forgotten. Raises `NotFound`."""
    row = _require(session, project, name, locked=True)
    if change.enabled is not None:
        row.enabled = change.enabled
    if change.settings is not None and change.settings != SETTINGS.validate_python(row.settings):
        row.settings = change.settings.model_dump(mode="json")
        row.state, row.reason = "new", None
        row.seen_checkpoint_id, row.seen, row.seen_at, row.probe, row.loaded = None, None, None, None, []
    # A worker that looks at the target as it was may not write what it sees.
    row.lease_epoch, row.lease_owner, row.lease_expires_at = row.lease_epoch + 1, None, None
    _look_now(session, row)
    session.flush()
    return _shown(session, project, [row])[0]


def delete(session: Session, project: str, name: str) -> None:
    """Forgets a target. What its server has loaded stays there. Raises `NotFound`."""
    session.delete(_require(session, project, name, locked=True))


def sync_now(session: Session, project: str, name: str) -> wire.ServingTarget:
    """Asks the workers to look at the target at once, whatever its pause. Raises `NotFound`, and `Conflict` if the
    target is disabled.
    """
    row = _require(session, project, name, locked=True)
    if not row.enabled:
        raise Conflict(f"Target {name} is disabled: enable it first.", code="target_disabled")
    _look_now(session, row)
    session.flush()
    return _shown(session, project, [row])[0]


def overview(session: Session, project: str) -> wire.Serving:
    """Returns the live checkpoint beside what each target serves. Raises `NotFound`."""
    live = releases.current(session, project)
    targets = _shown(session, project, store.of_project(session, project), live)
    enabled = [target for target in targets if target.enabled]
    return wire.Serving(
        project=project,
        checkpoint_id=live.checkpoint_id,
        release=live.number,
        released_at=live.created_at,
        targets=targets,
        in_step=all(target.in_step for target in enabled),
        targets_differ=len({target.seen_checkpoint_id for target in enabled}) > 1,
    )


# -- workers and the tick ---------------------------------------------------------------------------------------------


def look_at_release(session: Session, release_id: UUID) -> None:
    """Asks the workers to bring the project's targets to its live checkpoint."""
    project = releases.project_of(session, release_id)
    for row in store.of_project(session, project) if project is not None else ():
        if row.enabled:
            _look_now(session, row)


def ring_due(session: Session) -> None:
    """Sends messages for targets that are due and that no worker holds: after a pause, for the regular look, or because
    a worker was killed.
    """
    for row in store.due(session, now() - PATIENCE):
        _ring(session, row)


def _look_now(session: Session, row: ServingTarget) -> None:
    row.next_try_at, row.attempts = now(), 0
    _ring(session, row)


def _ring(session: Session, row: ServingTarget) -> None:
    if row.enabled:
        row.rung_at = now()
        outbox.put(session, messages.SYNC_TARGET, target_id=row.id)


# -- for other rooms --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ServedModel:
    """An address under which a checkpoint answers requests in OpenAI's shape."""

    target: str
    base_url: str
    model: str


def served_models(session: Session, project: str, checkpoint_id: UUID) -> list[ServedModel]:
    """Returns where the checkpoint was last seen to answer requests, by the names of the targets."""
    return [
        ServedModel(target.name, target.url, target.model)
        for target in _shown(session, project, store.of_project(session, project))
        if target.enabled
        and target.state != "away"
        and target.seen_checkpoint_id == checkpoint_id
        and target.url is not None
        and target.model is not None
    ]


def require_servable(session: Session, project: str, recipe: Recipe) -> None:
    """Raises `Refused`, which names fields and remedies, if an enabled target would refuse what the recipe trains."""
    refusals = _refusals(recipe, [row for row in store.of_project(session, project) if row.enabled])
    if refusals:
        raise Refused(
            f"A serving target would refuse the checkpoint: {'; '.join(_sentences(refusals))}.",
            code="not_servable",
            faults=[Fault(f"/changes{refusal.pointer}", refusal.message) for refusal in refusals],
            reasons=_sentences(refusals),
        )


def reasons_to_refuse(session: Session, project: str, recipe: Recipe) -> list[str]:
    """Returns why enabled targets would refuse what the recipe trains."""
    return _sentences(_refusals(recipe, [row for row in store.of_project(session, project) if row.enabled]))


def notices(session: Session, project: str) -> list[str]:
    """Returns a sentence for each target that has differed from the ledger for long."""
    rows = store.of_project(session, project)
    return [alarm_of(target) for target in _shown(session, project, rows) if target.alarm] if rows else []


def alarming(session: Session) -> tuple[int, list[wire.ServingTarget]]:
    """Returns the number of enabled targets of all projects, and those that have differed for long."""
    rows = store.enabled(session)
    targets = [target for row in rows for target in _shown(session, row.project_id, [row])]
    return len(rows), [target for target in targets if target.alarm]


def alarm_of(target: wire.ServingTarget) -> str:
    """Returns what is wrong with a target, as a sentence."""
    since = f" since {target.differs_since:%Y-%m-%d %H:%M} UTC" if target.differs_since else ""
    return (
        f"target {target.name} does not serve the live checkpoint{since}: {target.reason or target.state}: see "
        "`thumbwheel serving show`"
    )


def _refusals(recipe: Recipe, rows: Sequence[ServingTarget]) -> list[RecipeRefusal]:
    return [
        refusal
        for row in rows
        for refusal in refusals_of_recipe(recipe, row.name, SETTINGS.validate_python(row.settings))
    ]


def _sentences(refusals: Sequence[RecipeRefusal]) -> list[str]:
    return [f"{refusal.pointer[1:].replace('/', '.')} {refusal.message}" for refusal in refusals]


def _require(session: Session, project: str, name: str, *, locked: bool = False) -> ServingTarget:
    row = store.of_name(session, project, name, locked=locked)
    if row is None:
        raise NotFound(f"Project {project} has no serving target {name}.", code="target_not_found")
    return row


def _shown(
    session: Session, project: str, rows: Sequence[ServingTarget], live: wire.CurrentRelease | None = None
) -> list[wire.ServingTarget]:
    if not rows:
        return []
    live = live or releases.current(session, project)
    chosen = projects.get(session, project).recipe
    try:
        recipe = recipe_of(chosen.preset, chosen.changes.given())
    except ValidationError:  # it is older than a rule, and no run starts with it
        recipe = None
    return [_target(row, live, recipe) for row in rows]


def _target(row: ServingTarget, live: wire.CurrentRelease, recipe: Recipe | None) -> wire.ServingTarget:
    settings = SETTINGS.validate_python(row.settings)
    seen = leases.seen_of(row)
    at = now()
    serves_it = row.state == "serving" and row.seen_checkpoint_id == live.checkpoint_id
    looked_at_lately = row.seen_at is not None and at - row.seen_at < ALARM
    in_step = row.enabled and serves_it and looked_at_lately
    since = None if in_step or not row.enabled else _differs_since(row, live)
    state, reason = row.state, row.reason
    if state == "serving" and not serves_it:
        state, reason = "loading", "a release was made: a worker will look at it at once"
    if serves_it and not looked_at_lately:
        reason = "no worker has looked at it for five minutes: is one on the queue housekeeping?"
    return wire.ServingTarget(
        id=row.id,
        project=row.project_id,
        name=row.name,
        kind=settings.kind,
        settings=settings,
        enabled=row.enabled,
        state=state if row.enabled else "disabled",
        reason=reason,
        desired_checkpoint_id=live.checkpoint_id,
        seen_checkpoint_id=row.seen_checkpoint_id,
        model=None if seen is None else seen.model,
        url=f"{settings.url}/v1" if isinstance(settings, ServerSettings) else None,
        probe=None if row.probe is None else wire.ProbeResult.model_validate(row.probe),
        seen_at=row.seen_at,
        age_seconds=None if row.seen_at is None else max(0.0, (at - row.seen_at).total_seconds()),
        in_step=in_step,
        differs_since=since,
        alarm=since is not None and at - since > ALARM,
        attempts=row.attempts,
        next_try_at=row.next_try_at if row.enabled else None,
        draining=[each["artifact"]["name"] for each in row.loaded if each["unload_at"] is not None],
        notices=_sentences(refusals_of_recipe(recipe, row.name, settings)) if recipe is not None else [],
        created_at=row.created_at,
        created_by=row.created_by,
    )


def _differs_since(row: ServingTarget, live: wire.CurrentRelease) -> datetime:
    """Returns the time of the release or of the target itself, or when it was last found to serve the release."""
    began = max(live.created_at, row.created_at)
    if row.seen_checkpoint_id == live.checkpoint_id and row.seen_at is not None:
        return max(began, row.seen_at)
    return began
