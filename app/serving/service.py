"""Serving targets as operators see them: what each should serve, what it was seen to serve, and what it would refuse.

    release ─▶ message ─▶ a worker claims each target ─▶ publishes, loads, probes ─▶ seen ─▶ unloads the one before

The ledger of releases says what is desired, and nothing here changes it. `app.serving.leases` is the workers' side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy.orm import Session
from thumbwheel import wire
from thumbwheel.wire.recipe import Recipe, recipe_of
from thumbwheel.wire.serving import ServerSettings

from app import messages, outbox
from app.access.operator_log import service as operator_log
from app.database import now
from app.errors import Conflict, Fault, NotFound, Refused
from app.pages import Page, key_of_cursor, page_of, storable_key
from app.projects import service as projects
from app.releases import service as releases
from app.serving import store
from app.serving.leases.service import SETTINGS, seen_of
from app.serving.leases.target_lease import SeenModel
from app.serving.refusals import RecipeRefusal, refusals_of_recipe, sentences
from app.serving.served_artifact import same_place
from app.serving.shown import shown
from app.serving.tables import ServingSighting, ServingTarget

#: The largest number of targets of a project.
MOST_TARGETS = 20
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
    operator_log.note(session, name=new.name)
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
        if not same_place(change.settings, SETTINGS.validate_python(row.settings)):
            row.loaded = []
        row.settings = change.settings.model_dump(mode="json")
        store.forget_sightings(session, row.id)
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
        canary=live.canary,
        targets=targets,
        in_step=all(target.in_step for target in enabled),
        targets_differ=len({target.seen_checkpoint_id for target in enabled}) > 1,
    )


# -- workers and the tick ---------------------------------------------------------------------------------------------


def look_at_release(session: Session, release_id: UUID) -> None:
    """Asks the workers to bring the project's targets to its live checkpoint and its canary."""
    project = releases.project_of(session, release_id)
    for row in store.of_project(session, project) if project is not None else ():
        if row.enabled:
            _look_now(session, row)


def ring_due(session: Session) -> None:
    """Sends messages for targets that are due and that no worker holds: after a pause, for the regular look, because a
    worker was killed, or because the message of a release was lost with the worker that had it.
    """
    rows = store.enabled(session)
    released = {project: releases.newest_at(session, project) for project in {row.project_id for row in rows}}
    for row in rows:
        if row.rung_at is None or row.rung_at < released[row.project_id]:
            _look_now(session, row)
    for row in store.due(session, now() - PATIENCE):
        _ring(session, row)


def _look_now(session: Session, row: ServingTarget) -> None:
    row.next_try_at = now()
    store.forget_attempts(session, row.id)
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
    """Returns where the checkpoint, live or the canary's, was last seen to answer requests, by the names of the
    targets.
    """
    rows = [row for row in store.of_project(session, project) if row.enabled]
    return [
        ServedModel(row.name, f"{settings.url}/v1", seen.model)
        for row, sightings in _with_sightings(session, rows)
        if isinstance(settings := SETTINGS.validate_python(row.settings), ServerSettings)
        and (seen := _answers(sightings, checkpoint_id)) is not None
    ]


def require_servable(session: Session, project: str, recipe: Recipe) -> None:
    """Raises `Refused`, which names fields and remedies, if an enabled target would refuse what the recipe trains."""
    refusals = _refusals(recipe, [row for row in store.of_project(session, project) if row.enabled])
    if refusals:
        raise Refused(
            f"A serving target would refuse the checkpoint: {'; '.join(sentences(refusals))}.",
            code="not_servable",
            faults=[Fault(f"/changes{refusal.pointer}", refusal.message) for refusal in refusals],
            reasons=sentences(refusals),
        )


def reasons_to_refuse(session: Session, configuration: wire.Project) -> list[str]:
    """Returns why enabled targets would refuse what the project's recipe trains."""
    recipe = _recipe_of(configuration)
    rows = [row for row in store.of_project(session, configuration.project) if row.enabled]
    return [] if recipe is None else sentences(_refusals(recipe, rows))


def with_targets(session: Session, project: str, recipe: Recipe, ready: wire.Readiness) -> wire.Readiness:
    """Returns the readiness of a project with what its targets add: they would refuse what the recipe trains, or have
    differed from the ledger for long.
    """
    rows = store.of_project(session, project)
    refusals = sentences(_refusals(recipe, [row for row in rows if row.enabled]))
    alarms = [alarm_of(target) for target in _shown(session, project, rows) if target.alarm]
    changes = {"reasons": [*ready.reasons, *refusals], "notices": [*ready.notices, *alarms]}
    return ready.model_copy(update=changes | ({"ready": False} if refusals else {}))


def alarming(session: Session) -> tuple[int, list[wire.ServingTarget]]:
    """Returns the number of enabled targets of all projects, and those that have differed for long."""
    targets = enabled_targets(session)
    return len(targets), [target for target in targets if target.alarm]


def enabled_targets(session: Session) -> list[wire.ServingTarget]:
    """Returns the enabled targets of all projects, by project and name."""
    by_project = groupby(store.enabled(session), key=lambda row: row.project_id)
    return [target for project, rows in by_project for target in _shown(session, project, list(rows))]


def alarm_of(target: wire.ServingTarget) -> str:
    """Returns what is wrong with a target, as a sentence."""
    canary = target.canary
    if canary is not None and canary.alarm and target.reason is None:
        wrong = "still has a canary that has ended" if canary.state == "ending" else "does not serve the canary"
        since, reason = canary.differs_since, canary.reason or canary.state
    else:
        wrong, since, reason = "does not serve the live checkpoint", target.differs_since, target.reason or target.state
    when = f" since {since:%Y-%m-%d %H:%M} UTC" if since else ""
    return f"target {target.name} {wrong}{when}: {reason}: see `thumbwheel serving show`"


def _refusals(recipe: Recipe, rows: Sequence[ServingTarget]) -> list[RecipeRefusal]:
    return [
        refusal
        for row in rows
        for refusal in refusals_of_recipe(recipe, row.name, SETTINGS.validate_python(row.settings))
    ]


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
    recipe = _recipe_of(projects.get(session, project))
    return [shown(row, sightings, live, recipe) for row, sightings in _with_sightings(session, rows)]


def _with_sightings(
    session: Session, rows: Sequence[ServingTarget]
) -> list[tuple[ServingTarget, dict[str, ServingSighting]]]:
    """Returns each target with what was seen there, by role."""
    found = store.sightings(session, rows)
    roles = ("live", "canary")
    return [(row, {role: found[row.id, role] for role in roles if (row.id, role) in found}) for row in rows]


def _answers(sightings: Mapping[str, ServingSighting], checkpoint_id: UUID) -> SeenModel | None:
    """Returns the model of the checkpoint, in whichever role it was seen; None if it does not answer."""
    return next(
        (
            seen
            for row in sightings.values()
            if row.state != "away" and (seen := seen_of(row)) is not None and seen.checkpoint_id == checkpoint_id
        ),
        None,
    )


def _recipe_of(configuration: wire.Project) -> Recipe | None:
    """Returns the project's recipe, None if it is older than a rule that it breaks, so that no run starts with it."""
    chosen = configuration.recipe
    try:
        return recipe_of(chosen.preset, chosen.changes.given())
    except (ValidationError, KeyError):  # KeyError: its preset is gone
        return None
