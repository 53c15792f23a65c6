"""Shows a target: what operators chose, what it should serve, and what workers saw there."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from thumbwheel import wire
from thumbwheel.wire.recipe import Recipe
from thumbwheel.wire.serving import CanaryState, ServerSettings, TargetSettings, TargetState

from app.database import now
from app.serving.leases.service import SETTINGS, seen_of
from app.serving.refusals import notices_of_slots, reason_to_leave_out, refusals_of_recipe, sentences
from app.serving.tables import ServingSighting, ServingTarget

#: A target that differs for longer, or that no worker has looked at for longer, is an alarm.
ALARM = timedelta(minutes=5)
RELEASED = "a release was made: a worker will look at it at once"
NO_WORKER = "no worker has looked at it for five minutes: is one on the queue housekeeping?"


class _Step(NamedTuple):
    """Whether a role is in step with its release, and if not, why and since when. `state`: of a row."""

    state: TargetState
    reason: str | None
    in_step: bool
    since: datetime | None

    @property
    def alarm(self) -> bool:
        return self.since is not None and now() - self.since > ALARM


def shown(
    row: ServingTarget, sightings: Mapping[str, ServingSighting], current: wire.CurrentRelease, recipe: Recipe | None
) -> wire.ServingTarget:
    """Returns the target beside the live release and its canary.

    sightings  role → what was seen
    recipe     the project's, for notices
    """
    settings = SETTINGS.validate_python(row.settings)
    sighting = sightings.get("live")
    live = _step(row, sighting, current)
    canary = _canary(row, sightings.get("canary"), current.canary, settings)
    seen = None if sighting is None else seen_of(sighting)
    seen_at = None if sighting is None else sighting.seen_at
    since = [at for at in (live.since, None if canary is None else canary.differs_since) if at is not None]
    notices = sentences(refusals_of_recipe(recipe, row.name, settings)) if recipe is not None else []
    return wire.ServingTarget(
        id=row.id,
        project=row.project_id,
        name=row.name,
        kind=settings.kind,
        settings=settings,
        enabled=row.enabled,
        state=live.state,
        reason=live.reason,
        desired_checkpoint_id=current.checkpoint_id,
        seen_checkpoint_id=None if sighting is None else sighting.seen_checkpoint_id,
        model=None if seen is None else seen.model,
        url=f"{settings.url}/v1" if isinstance(settings, ServerSettings) else None,
        probe=None if sighting is None else _probe(sighting),
        seen_at=seen_at,
        age_seconds=None if seen_at is None else max(0.0, (now() - seen_at).total_seconds()),
        in_step=live.in_step and (canary is None or canary.in_step),
        differs_since=min(since, default=None),
        alarm=live.alarm or (canary is not None and canary.alarm),
        attempts=0 if sighting is None else sighting.attempts,
        next_try_at=row.next_try_at if row.enabled else None,
        draining=[each["artifact"]["name"] for each in row.loaded if each["unload_at"] is not None],
        canary=canary,
        notices=[*notices, *notices_of_slots(settings)],
        created_at=row.created_at,
        created_by=row.created_by,
    )


def _canary(
    row: ServingTarget, sighting: ServingSighting | None, release: wire.Release | None, settings: TargetSettings
) -> wire.ServedCanary | None:
    """Returns the canary at the target; None if there is none, by the ledger and there."""
    if release is None:
        return None if sighting is None else _ending(row, sighting)
    step = _step(row, sighting, release)
    state: CanaryState = step.state
    reason, in_step = step.reason, step.in_step
    left_out = reason_to_leave_out(settings)
    if left_out is None and sighting is not None and sighting.state == "left_out":
        left_out = sighting.reason
    if left_out is not None and row.enabled:
        state, reason, in_step = "left_out", left_out, True
    return wire.ServedCanary(
        desired_checkpoint_id=release.checkpoint_id,
        share=release.share,
        state=state,
        reason=reason,
        in_step=in_step,
        differs_since=None if in_step else step.since,
        alarm=not in_step and step.alarm,
        **_seen(sighting),
    )


def _ending(row: ServingTarget, sighting: ServingSighting) -> wire.ServedCanary:
    """Returns a canary that has ended, until a worker has retired it."""
    step = _Step("loading", sighting.reason or RELEASED, in_step=False, since=sighting.seen_at)
    return wire.ServedCanary(
        desired_checkpoint_id=None,
        share=None,
        state="ending" if row.enabled else "disabled",
        reason=step.reason,
        in_step=False,
        differs_since=step.since,
        alarm=row.enabled and step.alarm,
        **_seen(sighting),
    )


def _step(row: ServingTarget, sighting: ServingSighting | None, release: wire.Release) -> _Step:
    state: TargetState = "new"
    reason, serves_it, looked_at_lately = None, False, False
    if sighting is not None and sighting.state != "left_out":
        state, reason = sighting.state, sighting.reason  # type: ignore[assignment] # the table allows no other one
        serves_it = sighting.state == "serving" and sighting.seen_checkpoint_id == release.checkpoint_id
        looked_at_lately = sighting.seen_at is not None and now() - sighting.seen_at < ALARM
    if state == "serving" and not serves_it:
        state, reason = "loading", RELEASED
    if serves_it and not looked_at_lately:
        reason = NO_WORKER
    in_step = row.enabled and serves_it and looked_at_lately
    since = None if in_step or not row.enabled else _differs_since(row, sighting, release)
    return _Step(state if row.enabled else "disabled", reason, in_step, since)


def _differs_since(row: ServingTarget, sighting: ServingSighting | None, release: wire.Release) -> datetime:
    """Returns the time of the release or of the target itself, or when it was last found to serve the release."""
    began = max(release.created_at, row.created_at)
    if sighting is None or sighting.seen_at is None or sighting.seen_checkpoint_id != release.checkpoint_id:
        return began
    return max(began, sighting.seen_at)


def _seen(sighting: ServingSighting | None) -> dict[str, Any]:
    """Returns the fields of a canary about what was seen."""
    seen = None if sighting is None else seen_of(sighting)
    return {
        "seen_checkpoint_id": None if seen is None else seen.checkpoint_id,
        "model": None if seen is None else seen.model,
        "probe": None if sighting is None else _probe(sighting),
        "seen_at": None if sighting is None else sighting.seen_at,
        "attempts": 0 if sighting is None else sighting.attempts,
    }


def _probe(sighting: ServingSighting) -> wire.ProbeResult | None:
    return None if sighting.probe is None else wire.ProbeResult.model_validate(sighting.probe)
