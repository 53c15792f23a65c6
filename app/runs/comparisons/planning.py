"""Plans a job: recipes, budgets and trials of its arms, each checked against the feedback that there is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire
from thumbwheel.wire.recipe import Recipe

from app.checkpoints import service as checkpoints
from app.errors import Conflict, Fault, Invalid, Refused
from app.feedback import service as feedback
from app.gates.documents import kl_budget_of
from app.projects import service as projects
from app.releases import service as releases
from app.runs import decision
from app.runs.comparisons.arms import budget_changes, changes_of_arms, differing, examples_of
from app.runs.comparisons.search import changes_of, names_of, points_of
from app.runs.comparisons.snapshot_rows import refusals_on
from app.runs.comparisons.trials import Halving, first_arms, trials_of
from app.snapshots import service as snapshots
from app.snapshots.reading import service as reading

#: Nats per token from the reference, if neither the request nor the gates limit the drift.
KL_BUDGET = 0.5


@dataclass(frozen=True)
class JobPlan:
    """The columns that decide a job. `arms` and `trials` are as the job's row has them."""

    watermark: int
    reference: UUID
    kl_budget: float
    arms: list[dict[str, Any]]
    trials: list[dict[str, Any]]


def planned(session: Session, configuration: wire.Project, new: wire.NewComparison | wire.NewSweep) -> JobPlan:
    """Returns the plan of a job. Raises `Invalid`, `Refused`, `Conflict` and `NotFound` as `service.request` does."""
    project = configuration.project
    base = decision.recipe_for(configuration, {})
    decision.require_audited(session, project)
    if isinstance(new, wire.NewSweep):
        points = points_of(new)
        names, changes = names_of(points), [changes_of(point) for point in points]
        own: list[dict[str, Any]] = [{} for _ in points]
        recipes: list[Recipe | None] = [
            _recipe(configuration, each, "/space", name) for each, name in zip(changes, names, strict=True)
        ]
        halving = Halving(tuple(new.rungs), new.resource, new.keep) if new.search == "halving" else None
    else:
        arms, halving = new.named_arms(), None
        names = [arm.name for arm in arms]
        recipes = [
            None if each is None else _recipe(configuration, each, f"/arms/{number}", names[number])
            for number, each in enumerate(changes_of_arms(arms, base))
        ]
        own = [_own_of(session, project, arm, number, base) for number, arm in enumerate(arms)]
    reference = releases.current(session, project).checkpoint_id
    if new.snapshot_id is None:
        watermark = feedback.watermark(session, project)
        rows = _rows_of_log(session, configuration, names, recipes, watermark, reference)
    else:
        watermark, rows = _rows_of_snapshot(session, configuration, names, recipes, new.snapshot_id)
    stored = [
        _arm(name, of_arm, recipe, base, new.budget, rows)
        for name, of_arm, recipe in zip(names, own, recipes, strict=True)
    ]
    within = [arm["recipe"] for arm in stored]
    kl_budget = new.kl_budget or kl_budget_of(configuration.gates.document) or KL_BUDGET
    trials = trials_of(within, first_arms(within), new.seeds, 0, halving)
    return JobPlan(watermark, reference, kl_budget, stored, trials)


def _arm(
    name: str, own: Mapping[str, Any], recipe: Recipe | None, base: Recipe, budget: wire.ArmBudget, rows: int
) -> dict[str, Any]:
    """Returns an arm as the job's row has it. `own`: what `_own_of` returns."""
    if recipe is None:
        gets = "no training: it is the reference"
        if count := own.get("few_shots"):
            gets += f" with {count} example{'s' * (count > 1)} before each prompt"
        return {"name": name, "changes": {}, "recipe": None, "budget": [gets], **own}
    changes, words = budget_changes(budget, recipe, rows)
    if "base_model" in own:
        words = [f"starts from {own['base_model']}, which is its reference", *words]
    limited = Recipe.model_validate({**recipe.model_dump(), **changes})
    return {
        "name": name,
        "changes": differing(limited, base),
        "recipe": limited.model_dump(mode="json"),
        "budget": words,
        **own,
    }


def _own_of(session: Session, project: str, arm: wire.NewArm, number: int, base: Recipe) -> dict[str, Any]:
    """Returns the number of examples of the arm few_shots, or the base model of an arm with its checkpoint, which is
    registered unless the project has it; nothing for other arms. Raises `Invalid` if the folder holds no base model.
    """
    if arm.base_model is None:
        count = examples_of(arm, base)
        return {"few_shots": count} if count else {}
    projects.require_base_model(arm.base_model, f"/arms/{number}/base_model")
    checkpoint = checkpoints.register_base(session, project, arm.base_model)
    return {"base_model": arm.base_model, "reference_checkpoint_id": str(checkpoint.id)}


def _recipe(configuration: wire.Project, changes: Mapping[str, Any], pointer: str, name: str) -> Recipe:
    """Returns the recipe of an arm. Raises `Invalid` with the arm and the field of each fault."""
    try:
        return decision.recipe_for(configuration, changes)
    except Invalid as error:
        fields = [fault.pointer.removeprefix("/changes") for fault in error.faults]
        below = "/changes" if pointer.startswith("/arms") else ""
        faults = [
            Fault(f"{pointer}{below}{field}", fault.message) for field, fault in zip(fields, error.faults, strict=True)
        ]
        listed = "; ".join(f"{fault.pointer}: {fault.message}" for fault in faults)
        raise Invalid(f"The recipe of {name} is wrong: {listed}.", code="invalid_recipe", faults=faults) from None


def _rows_of_log(
    session: Session,
    configuration: wire.Project,
    names: Sequence[str],
    recipes: Sequence[Recipe | None],
    watermark: int,
    reference: UUID,
) -> int:
    """Returns the number of labelled training rows that the log gives now. Raises `Refused` with each arm that cannot
    learn from them.
    """
    ready: dict[tuple[str, str], wire.Readiness] = {}
    reasons: dict[str, list[str]] = {}
    rows = 0
    for name, recipe in zip(names, recipes, strict=True):
        if recipe is None:
            continue
        kind = snapshots.needs(recipe.objective), recipe.pairs
        if kind not in ready:
            ready[kind] = decision.readiness_of(session, configuration, recipe, watermark, reference, since=0)
        plan = ready[kind].plan
        rows = plan.desirable.rows + plan.undesirable.rows if plan is not None else rows
        # A large log was read a while ago. If it has grown since, the run decides when it builds the snapshot.
        if not ready[kind].ready and ready[kind].watermark == watermark:
            for reason in ready[kind].reasons:
                reasons.setdefault(reason, []).append(name)
    _require_none(reasons)
    return rows


def _rows_of_snapshot(
    session: Session,
    configuration: wire.Project,
    names: Sequence[str],
    recipes: Sequence[Recipe | None],
    snapshot_id: UUID,
) -> tuple[int, int]:
    """Returns the watermark and the number of labelled training rows of the snapshot. Raises `NotFound`, `Conflict`,
    and `Refused` with each arm that cannot learn from it.
    """
    snapshot = reading.get(session, configuration.project, snapshot_id)
    if snapshot.redacted_at is not None:
        raise Conflict(
            f"Rows of snapshot {snapshot_id} were deleted: leave snapshot_id out, or name another one.",
            code="snapshot_redacted",
            details={"snapshot_id": str(snapshot_id)},
        )
    reasons: dict[str, list[str]] = {}
    for name, recipe in zip(names, recipes, strict=True):
        if recipe is not None:
            for refusal in refusals_on(snapshot.manifest, recipe, configuration.snapshot):
                reasons.setdefault(refusal.reason, []).append(name)
    _require_none(reasons)
    train = snapshot.counts["train"]
    return snapshot.watermark, train.desirable + train.undesirable


def _require_none(reasons: Mapping[str, Sequence[str]]) -> None:
    if not reasons:
        return
    listed = [f"{', '.join(arms)}: {reason}" for reason, arms in reasons.items()]
    raise Refused(
        f"The feedback is not enough for every arm: {'; '.join(listed)}. Leave these arms out, or collect more.",
        code="not_ready",
        reasons=listed,
    )
