"""Reports a job: its arms with runs and figures, paired differences, notices and the recommendation."""

from collections.abc import Mapping, Sequence
from typing import Any

from thumbwheel import wire

from app.runs import states
from app.runs.comparisons import arm_figures
from app.runs.comparisons.arms import UNTOUCHED
from app.runs.comparisons.differences import Checkpoints, differences_of
from app.runs.comparisons.recommend import leading_of, notices_of, recommend
from app.runs.states import RunState
from app.runs.tables import ComparisonJob, Run


def shown(row: ComparisonJob, children: Sequence[Run], result: Mapping[str, Any]) -> wire.ComparisonJob:
    """Returns the job as the API shows it."""
    ended = sum(RunState(run.state) in states.TERMINAL for run in children)
    derived = {"project", "runs_planned", "runs_ended", *result}
    return wire.ComparisonJob.model_validate(
        {
            **{name: getattr(row, name) for name in wire.ComparisonJob.model_fields if name not in derived},
            "project": row.project_id,
            "runs_planned": len(row.trials),
            "runs_ended": ended,
            **result,
        }
    )


def result_of(
    row: ComparisonJob, children: Sequence[Run], checkpoints: Checkpoints, *, with_samples: bool
) -> dict[str, Any]:
    """Returns the columns of `ComparisonJob.result`. `with_samples`: reads the samples, for the paired differences."""
    arms = arms_of(row, children, checkpoints)
    leading = leading_of(arms, row.kl_budget) if with_samples else None
    measured = _against_reference(row, children, checkpoints)
    differences = [] if leading is None else [*differences_of(leading, arms, checkpoints, measured)]
    leads = {difference.second: difference.auroc for difference in differences}
    recommendation = recommend(arms, row.kl_budget, leads)
    ended = sum(RunState(run.state) in states.TERMINAL for run in children)
    notices = notices_of(arms, differences, row.request["seeds"])
    if ended < len(row.trials):
        notices = [f"{ended} of {len(row.trials)} runs have ended: nothing is decided yet.", *notices]
    return {
        "arms": [arm.model_dump(mode="json") for arm in arms],
        "differences": [difference.model_dump(mode="json") for difference in differences],
        "notices": notices,
        "recommendation": recommendation.model_dump(mode="json"),
    }


def arms_of(row: ComparisonJob, children: Sequence[Run], checkpoints: Checkpoints) -> list[wire.ArmResult]:
    """Returns each arm with its runs, and with the figures of the last rung that it reached."""
    trials = [[] for _ in row.arms]  # type: list[list[wire.ArmRun]]
    for position, trial in enumerate(row.trials):
        run = children[position] if position < len(children) else None
        trials[trial["arm"]].append(_trial(trial, run, checkpoints))
    every = [checkpoint.scores for checkpoint in _against_reference(row, children, checkpoints)]
    return [_arm(arm, own, checkpoints, every) for arm, own in zip(row.arms, trials, strict=True)]


def _against_reference(row: ComparisonJob, children: Sequence[Run], checkpoints: Checkpoints) -> list[wire.Checkpoint]:
    """Returns the checkpoints that were measured against the job's reference, first trials first: their scores have the
    figures of the arms that are not trained.
    """
    registered = [run.checkpoint_id for run in children if run.reference_checkpoint_id == row.reference_checkpoint_id]
    return [checkpoints[each] for each in registered if each is not None and each in checkpoints]


def _trial(trial: Mapping[str, Any], run: Run | None, checkpoints: Checkpoints) -> wire.ArmRun:
    checkpoint = checkpoints.get(run.checkpoint_id) if run is not None and run.checkpoint_id is not None else None
    return wire.ArmRun(
        seed=trial["seed"],
        rung=trial["rung"],
        run_id=None if run is None else run.id,
        state=None if run is None else RunState(run.state),
        reason=None if run is None else run.reason,
        checkpoint_id=None if run is None else run.checkpoint_id,
        verdict=None if checkpoint is None else checkpoint.verdict,
    )


def _arm(
    arm: Mapping[str, Any], trials: list[wire.ArmRun], checkpoints: Checkpoints, every: list[dict[str, Any]]
) -> wire.ArmResult:
    rung = max((trial.rung for trial in trials), default=0)
    registered = [trial.checkpoint_id for trial in trials if trial.rung == rung and trial.checkpoint_id is not None]
    scores = [checkpoints[checkpoint_id].scores for checkpoint_id in registered if checkpoint_id in checkpoints]
    if arm["name"] == UNTOUCHED:
        figures = arm_figures.figures_of_untouched(every)
    elif "few_shots" in arm:
        figures = arm_figures.figures_of_few_shots(every, arm["few_shots"])
    else:
        figures = arm_figures.figures_of(scores)
    named = {name: arm.get(name) for name in ("name", "changes", "budget", "base_model", "reference_checkpoint_id")}
    return wire.ArmResult.model_validate({**named, "runs": trials, "rung": rung, "seeds": len(scores), **figures})
