"""Shows a target: what operators chose, what it should serve, and what workers saw there."""

from datetime import datetime, timedelta

from thumbwheel import wire
from thumbwheel.wire.recipe import Recipe
from thumbwheel.wire.serving import ServerSettings

from app.database import now
from app.serving.leases import service as leases
from app.serving.leases.service import SETTINGS
from app.serving.refusals import refusals_of_recipe, sentences
from app.serving.tables import ServingTarget

#: A target that differs for longer, or that no worker has looked at for longer, is an alarm.
ALARM = timedelta(minutes=5)


def shown(row: ServingTarget, live: wire.CurrentRelease, recipe: Recipe | None) -> wire.ServingTarget:
    """Returns the target beside the live release. `recipe`: the project's, for notices."""
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
        notices=sentences(refusals_of_recipe(recipe, row.name, settings)) if recipe is not None else [],
        created_at=row.created_at,
        created_by=row.created_by,
    )


def _differs_since(row: ServingTarget, live: wire.CurrentRelease) -> datetime:
    """Returns the time of the release or of the target itself, or when it was last found to serve the release."""
    began = max(live.created_at, row.created_at)
    if row.seen_checkpoint_id == live.checkpoint_id and row.seen_at is not None:
        return max(began, row.seen_at)
    return began
