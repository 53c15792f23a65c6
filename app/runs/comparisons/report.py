"""Reports a job: its arms with runs and figures, paired differences, notices and the recommendation."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pyarrow.parquet as pq
from thumbwheel import wire

from app import artifacts
from app.checkpoints import held_out_scores
from app.checkpoints.held_out_scores import HeldOutScores
from app.errors import NotFound
from app.runs import states
from app.runs.comparisons import arm_figures
from app.runs.comparisons.arms import UNTOUCHED
from app.runs.comparisons.paired import COLUMNS, auroc_difference, differences_over_samples, values_of
from app.runs.comparisons.recommend import leading_of, notices_of, recommend
from app.runs.states import RunState
from app.runs.tables import ComparisonJob, Run

SAMPLES = "samples.parquet"
NO_SCORES = "not every seed of both arms has scores of single rows"
Content = TypeVar("Content")

Checkpoints = Mapping[UUID, wire.Checkpoint]


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
    differences = [] if leading is None else [*_differences(leading, arms, checkpoints)]
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
    every = [checkpoint.scores for checkpoint in checkpoints.values()]
    return [_arm(arm, own, checkpoints, every) for arm, own in zip(row.arms, trials, strict=True)]


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
    untouched = arm["name"] == UNTOUCHED
    figures = arm_figures.figures_of_untouched(every) if untouched else arm_figures.figures_of(scores)
    named = {name: arm[name] for name in ("name", "changes", "budget")}
    return wire.ArmResult.model_validate({**named, "runs": trials, "rung": rung, "seeds": len(scores), **figures})


def _differences(
    leading: wire.ArmResult, arms: Sequence[wire.ArmResult], checkpoints: Checkpoints
) -> Iterator[wire.ArmDifference]:
    """Yields the differences of the leading arm from each other arm with which it has anything in common."""
    samples, scores = _samples_of(leading, checkpoints), _scores_of(leading, checkpoints)
    first = values_of(samples, "candidate")
    for arm in arms:
        if arm is leading:
            continue
        if arm.name == UNTOUCHED:
            second = values_of(samples, "shipped")
            others = dict.fromkeys(scores)
        else:
            second = values_of(_samples_of(arm, checkpoints), "candidate")
            others = {**_scores_of(arm, checkpoints)}
        prompts, tokens, nats = differences_over_samples(first, second)
        # With fewer seeds than the arms' AUROCs rest on, the variation between trainings would be left out.
        seeds = {*_registered(leading, checkpoints), *(_registered(arm, checkpoints) or scores)}
        paired = [
            auroc_difference(scores[seed], others[seed]) for seed in scores if scores.keys() == others.keys() == seeds
        ]
        if prompts or paired:
            auroc = arm_figures.pooled(paired) if paired else wire.ArmFigure(reason=NO_SCORES)
            yield wire.ArmDifference(
                first=leading.name, second=arm.name, prompts=prompts, auroc=auroc, tokens=tokens,
                kl_nats_per_completion=nats,
            )  # fmt: skip


def _samples_of(arm: wire.ArmResult, checkpoints: Checkpoints) -> list[dict[str, Any]]:
    """Returns the samples of the arm's first seed; none if there are none, or they are damaged or gone.

    Raises `Unavailable` while the artifact store is away, as a result is kept for good.
    """
    first = next(iter(_registered(arm, checkpoints).values()), None)
    found = None if first is None else _fetched(first, SAMPLES, _rows_of_samples)
    return [] if found is None else found


def _scores_of(arm: wire.ArmResult, checkpoints: Checkpoints) -> dict[int, HeldOutScores]:
    """Returns the held-out scores of the arm's seeds that have any. Raises `Unavailable` as `_samples_of` does."""
    found = {
        seed: _fetched(checkpoint, held_out_scores.FILE, held_out_scores.read)
        for seed, checkpoint in _registered(arm, checkpoints).items()
    }
    return {seed: scores for seed, scores in found.items() if scores is not None and len(scores.places)}


def _registered(arm: wire.ArmResult, checkpoints: Checkpoints) -> dict[int, wire.Checkpoint]:
    """Returns the checkpoints of the arm's seeds, at the rung of its figures."""
    return {
        run.seed: checkpoints[run.checkpoint_id]
        for run in arm.runs
        if run.rung == arm.rung and run.checkpoint_id is not None and run.checkpoint_id in checkpoints
    }


def _fetched(checkpoint: wire.Checkpoint, name: str, read: Callable[[Path], Content]) -> Content | None:
    """Returns the content of a checkpoint's file; None if it has none, or it is damaged or gone."""
    sha256 = checkpoint.files.get(name)
    if sha256 is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        try:
            artifacts.fetch(sha256, path)
        except (NotFound, artifacts.DamagedArtifact):
            return None
        return read(path)


def _rows_of_samples(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path, columns=list(COLUMNS)).to_pylist()
    return rows
