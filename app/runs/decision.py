"""Decides a run from the current state of its project: recipe, watermark, reference, and whether it may start."""

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
from app.readiness import service as readiness
from app.releases import service as releases
from app.serving import service as serving
from app.suites.versions import service as suites


def recipe_for(configuration: wire.ProjectConfiguration, changes: Mapping[str, Any]) -> Recipe:
    """Returns the project's unresolved recipe with `changes` applied. Raises `Invalid` with a pointer per field."""
    chosen = configuration.recipe
    combined = {**chosen.changes.given(), **changes}
    faults = faults_of_recipe(chosen.preset, combined)
    if faults:
        listed = "; ".join(f"{fault.pointer}: {fault.message}" for fault in faults)
        raise Invalid(f"The recipe is wrong: {listed}.", code="invalid_recipe", faults=faults)
    return recipe_of(chosen.preset, combined)


def readiness_of(
    session: Session,
    configuration: wire.Project,
    recipe: Recipe,
    watermark: int,
    shipped: UUID,
    *,
    since: int,
) -> wire.Readiness:
    """Returns the readiness of the feedback up to `watermark`. Labels after the position `since` count as new. Raises
    `Unavailable` while the readiness of a large log is being computed.
    """
    project = configuration.project
    ready = readiness.readiness(
        session,
        project,
        configuration.snapshot,
        configuration.gates.document,
        recipe.objective,
        watermark=watermark,
        since=since,
        shipped_checkpoint_id=shipped,
        pairs=recipe.pairs,
        weigh_up=recipe.weigh_up,
    )
    reasons = [*ready.reasons, *audits.reasons_to_refuse(session, project, policies.adopted(session, project))]
    return ready.model_copy(update={"ready": not reasons, "reasons": reasons})


def decided_now(session: Session, configuration: wire.Project, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the deciding columns of a run that starts now. Whether there is enough feedback is checked when the
    snapshot is built. Raises `Invalid` if the recipe has become wrong, and `Refused` as `require_audited` does or if a
    serving target would refuse the checkpoint.
    """
    project = configuration.project
    recipe = recipe_for(configuration, changes)
    serving.require_servable(session, project, recipe)
    require_audited(session, project)
    reference = releases.current(session, project).checkpoint_id
    return decided(session, configuration, recipe, feedback.watermark(session, project), reference)


def require_audited(session: Session, project: str) -> None:
    """Raises `Refused` if the adopted label policy requires an audit and there is none that holds."""
    reasons = audits.reasons_to_refuse(session, project, policies.adopted(session, project))
    if reasons:
        raise Refused("A run cannot start yet: " + "; ".join(reasons), code="not_ready", reasons=reasons)


def decided(
    session: Session, configuration: wire.Project, recipe: Recipe, watermark: int, reference: UUID
) -> dict[str, Any]:
    """Returns the columns that decide a run, with the suites that the project has adopted."""
    return {
        "configuration": configuration.model_dump(mode="json", include=set(wire.StoredConfiguration.model_fields)),
        "recipe": recipe.model_dump(mode="json"),
        "watermark": watermark,
        "reference_checkpoint_id": reference,
        "suites": suites.for_run(session, configuration.project),
    }
