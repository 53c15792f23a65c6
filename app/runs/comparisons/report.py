"""Reports a job: its arms with runs and figures, paired differences, notices and the recommendation."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq
from thumbwheel import wire

from app import artifacts
from app.errors import NotFound
from app.runs import states
from app.runs.comparisons import arm_figures
from app.runs.comparisons.arms import UNTOUCHED
from app.runs.comparisons.paired import COLUMNS, Values, difference_of, values_of
from app.runs.comparisons.recommend import notices_of, recommend
from app.runs.states import RunState
from app.runs.tables import ComparisonJob, Run

SAMPLES = "samples.parquet"

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
    recommendation = recommend(arms, row.kl_budget)
    differences = _differences(arms, recommendation, checkpoints) if with_samples else []
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
    arms: Sequence[wire.ArmResult], recommendation: wire.Recommendation, checkpoints: Checkpoints
) -> list[wire.ArmDifference]:
    """Returns the differences of the leading arm from each other arm, where both have samples."""
    leading = next((arm for arm in arms if arm.name == recommendation.leading), None)
    samples = None if leading is None else _samples_of(leading, checkpoints)
    if leading is None or samples is None:
        return []
    first = leading.name, values_of(samples, "candidate")
    others = ((arm.name, values) for arm in arms if arm is not leading for values in _values(arm, samples, checkpoints))
    return [difference for other in others if (difference := difference_of(first, other)) is not None]


def _values(arm: wire.ArmResult, of_leading: list[dict[str, Any]], checkpoints: Checkpoints) -> Iterator[Values]:
    if arm.name == UNTOUCHED:
        yield values_of(of_leading, "shipped")
        return
    samples = _samples_of(arm, checkpoints)
    if samples is not None:
        yield values_of(samples, "candidate")


def _samples_of(arm: wire.ArmResult, checkpoints: Checkpoints) -> list[dict[str, Any]] | None:
    """Returns the samples of the arm's first seed; None if it has none, or they are damaged or gone.

    Raises `Unavailable` while the artifact store is away, as a result is kept for good.
    """
    registered = (run.checkpoint_id for run in arm.runs if run.rung == arm.rung and run.checkpoint_id is not None)
    checkpoint = checkpoints.get(next(registered, UUID(int=0)))
    sha256 = checkpoint.files.get(SAMPLES) if checkpoint is not None else None
    if sha256 is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / SAMPLES
        try:
            artifacts.fetch(sha256, path)
        except (NotFound, artifacts.DamagedArtifact):
            return None
        rows: list[dict[str, Any]] = pq.read_table(path, columns=list(COLUMNS)).to_pylist()
        return rows
