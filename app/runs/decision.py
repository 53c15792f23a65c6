"""What a run is decided by, and whether one could start: of the project as it is now."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire
from thumbwheel.wire.recipe import Recipe, recipe_of

from app.errors import Invalid, Refused
from app.feedback import service as feedback
from app.labels.audits import service as audits
from app.labels.policies import service as policies
from app.projects.configuration import faults_of_recipe
from app.readiness import service as snapshots
from app.releases import service as releases


def recipe_for(configuration: wire.ProjectConfiguration, changes: Mapping[str, Any]) -> Recipe:
    """The project's recipe with `changes` laid over it, not resolved. Raises `Invalid` with a pointer per field."""
    chosen = configuration.recipe
    together = {**chosen.changes.given(), **changes}
    faults = faults_of_recipe(chosen.preset, together)
    if faults:
        what = "; ".join(f"{fault.pointer}: {fault.message}" for fault in faults)
        raise Invalid(f"The recipe is wrong: {what}.", code="invalid_recipe", faults=faults)
    return recipe_of(chosen.preset, together)


def readiness_of(
    session: Session,
    configuration: wire.Project,
    recipe: Recipe,
    watermark: int,
    shipped: UUID,
    *,
    since: int,
) -> wire.Readiness:
    """Returns the readiness of the feedback up to `watermark`; `since`: after which a label is new. Raises
    `Unavailable` while that of a large log is worked out.
    """
    project = configuration.project
    found = snapshots.readiness(
        session,
        project,
        configuration.snapshot,
        configuration.gates,
        recipe.objective,
        watermark=watermark,
        since=since,
        shipped_checkpoint_id=shipped,
        pairs=recipe.pairs,
    )
    reasons = [*found.reasons, *audits.reasons_to_refuse(session, project, policies.adopted(session, project))]
    return found.model_copy(update={"ready": not reasons, "reasons": reasons})


def decided_now(session: Session, configuration: wire.Project, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Raises `Invalid` for a recipe that is wrong by now, `Refused` where an audit of the labels stands in the way.
    Too little feedback is found when the snapshot is made.
    """
    project = configuration.project
    recipe = recipe_for(configuration, changes)
    require_audited(session, project)
    reference = releases.current(session, project).checkpoint_id
    return decided(configuration, recipe, feedback.watermark(session, project), reference)


def require_audited(session: Session, project: str) -> None:
    """Raises `Refused` where the adopted label policy asks for an audit that does not hold."""
    reasons = audits.reasons_to_refuse(session, project, policies.adopted(session, project))
    if reasons:
        raise Refused("A run cannot start yet: " + "; ".join(reasons), code="not_ready", reasons=reasons)


def decided(configuration: wire.Project, recipe: Recipe, watermark: int, reference: UUID) -> dict[str, Any]:
    """The columns of a run that decide it."""
    return {
        "configuration": configuration.model_dump(mode="json", include=set(wire.ProjectConfiguration.model_fields)),
        "recipe": recipe.model_dump(mode="json"),
        "watermark": watermark,
        "reference_checkpoint_id": reference,
    }
