"""Grades what the models wrote for the run's suites. Needs no torch: it runs in the worker after the scorer.

Reads WORKDIR/suites.json, the suites that the run was requested with, and WORKDIR/samples.parquet, and writes:

    suite_scores.json   {suite: {version, sha256, tests, candidate, shipped, ancestor, difference_to_shipped,
                        difference_to_ancestor, metrics, undecided_reason}}, the figures of `app.suites.figures`;
                        and few_shots, if WORKDIR/few_shots.parquet has replies of the reference with examples
    suites.parquet      the output of each model for each test, with the verdict: `app.suites.outcomes_file`

A test without an output is undecided, with the reason. The same inputs give the same bytes, so an interrupted grading
simply begins again.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thumbwheel import wire
from thumbwheel.wire.recipe import Recipe

from app.checkpoints.few_shots import FEW_SHOTS, OUTPUTS
from app.suites.assertions import NO_EVIDENCE, Evidence
from app.suites.figures import GradedSample, Intervals, suite_figures
from app.suites.grading import GradedTest, grade_test, undecided_test
from app.suites.outcomes_file import MODELS, OUTCOMES, write_outcomes
from app.suites.samples import SuiteSample, samples_of
from worker.training.files.sealed import read, replace_sealed, seal_of, verify, write_sealed

SUITES, SAMPLES, SCORES = "suites.json", "samples.parquet", "suite_scores.json"
CANDIDATE, *OTHERS = MODELS
STOPPED = "sampling stopped at its limit of {}: raise it in the recipe's evaluation"
NO_TEMPLATE = "the model has no chat template, and the prompt is a chat"
NOT_SAMPLED = "the model was not sampled for it"
NO_ROOM = "the prompt does not fit into the context with the examples"

#: Returns what embeddings and a judge have to say about the output of a sample.
EvidenceOf = Callable[[SuiteSample, str], Evidence]


@dataclass(frozen=True)
class Output:
    text: str
    cut_off: bool


#: Test, label of the prompt and model → what it wrote.
Outputs = Mapping[tuple[int, str, str], Output]


def nothing(_sample: SuiteSample, _output: str) -> Evidence:
    """Returns no evidence: assertions that need a judge or embeddings are undecided."""
    return NO_EVIDENCE


def grade_suites(workdir: Path, heed: Callable[[], None], evidence_of: EvidenceOf = nothing) -> None:
    """Grades the suites of the run; does nothing if it has none, or no samples.

    heed  called before each test; raises if the run has to stop

    Raises `DamagedFile`.
    """
    if not (workdir / SUITES).is_file() or not (workdir / SAMPLES).is_file():
        return
    chosen = json.loads(read(workdir / SUITES))["suites"]
    recipe = Recipe.model_validate_json(read(workdir / "recipe.json"))
    intervals = Intervals(recipe.evaluation.bootstrap, recipe.evaluation.confidence, recipe.seed)
    verify(seal_of(workdir / SAMPLES))
    stopped_by = _stopped_by(workdir, "samples")
    scores: dict[str, Any] = {}
    outcomes: dict[str, Sequence[Mapping[str, Any]]] = {}
    for item in chosen:
        name, suite = item["name"], wire.Suite.model_validate(item["document"])
        outputs = _outputs_of(workdir / SAMPLES, name)
        rows, graded = _graded(suite, MODELS, outputs, _absence(stopped_by), heed, evidence_of)
        outcomes[name] = rows
        scores[name] = {
            "version": item["version"],
            "sha256": item["sha256"],
            "tests": len(suite.tests),
            **suite_figures(graded, candidate=CANDIDATE, others=OTHERS, intervals=intervals),
        }
    if (workdir / OUTPUTS).is_file():
        _grade_few_shots(workdir, chosen, scores, intervals, heed, evidence_of)
    aside = workdir / f".{OUTCOMES}"
    write_outcomes(aside, outcomes)
    replace_sealed(aside, workdir / OUTCOMES)
    write_sealed(workdir / SCORES, json.dumps(scores, indent=1, allow_nan=False, ensure_ascii=False).encode())


def _grade_few_shots(
    workdir: Path,
    chosen: Sequence[Mapping[str, Any]],
    scores: dict[str, Any],
    intervals: Intervals,
    heed: Callable[[], None],
    evidence_of: EvidenceOf,
) -> None:
    """Adds the figures of the reference with examples to `scores`. It comes last, so that a judge's budget is spent on
    the other models' outputs first.
    """
    verify(seal_of(workdir / OUTPUTS))
    stopped_by = _stopped_by(workdir, FEW_SHOTS)
    for item in chosen:
        name, suite = item["name"], wire.Suite.model_validate(item["document"])
        outputs = _outputs_of(workdir / OUTPUTS, name)
        absence = _absence(stopped_by, otherwise=NO_ROOM)
        _, graded = _graded(suite, (FEW_SHOTS,), outputs, absence, heed, evidence_of)
        figures = suite_figures(graded, candidate=FEW_SHOTS, others=(), intervals=intervals)
        scores[name][FEW_SHOTS] = figures[FEW_SHOTS]


def _graded(
    suite: wire.Suite,
    models: Sequence[str],
    outputs: Outputs,
    absence: Callable[[SuiteSample], str],
    heed: Callable[[], None],
    evidence_of: EvidenceOf,
) -> tuple[list[dict[str, Any]], dict[str, list[GradedSample]]]:
    """Returns the outcomes for the file, and the verdicts by model.

    absence  returns why a sample has no output
    """
    rows: list[dict[str, Any]] = []
    graded: dict[str, list[GradedSample]] = {model: [] for model in models}
    for sample in samples_of(suite):
        heed()
        label = sample.prompt.label
        row: dict[str, Any] = {
            "test": sample.number, "description": sample.test.description, "prompt_label": label,
        }  # fmt: skip
        # Equal outputs are graded once: often the shipped model is the ancestor.
        verdicts: dict[str | None, GradedTest] = {}
        for model in models:
            output = outputs.get((sample.number, label, model))
            text = None if output is None else output.text
            if text not in verdicts:
                verdicts[text] = _verdict(sample, text, absence, evidence_of)
            verdict = verdicts[text]
            graded[model].append(GradedSample(sample.number, label, verdict))
            row[model] = {
                "output": text,
                "cut_off": output is not None and output.cut_off,
                "verdict": verdict.graded.verdict,
                "score": verdict.graded.score,
                "reason": verdict.graded.reason,
            }
        rows.append(row)
    return rows, graded


def _verdict(
    sample: SuiteSample, output: str | None, absence: Callable[[SuiteSample], str], evidence_of: EvidenceOf
) -> GradedTest:
    if output is not None:
        return grade_test(sample.test, output, evidence_of(sample, output))
    return undecided_test(sample.test, absence(sample))


def _absence(stopped_by: str | None, otherwise: str | None = None) -> Callable[[SuiteSample], str]:
    """Returns a function that says why a sample has no output."""

    def reason(sample: SuiteSample) -> str:
        if stopped_by is not None:
            return STOPPED.format(stopped_by)
        is_chat = not isinstance(sample.prompt.prompt, str)
        return otherwise or (NO_TEMPLATE if is_chat else NOT_SAMPLED)

    return reason


def _stopped_by(workdir: Path, section: str) -> str | None:
    """Returns the limit at which sampling stopped, "tokens" or "minutes"; None if it came to its end."""
    scores = json.loads(read(workdir / "scores.json"))
    reason = (scores.get(section) or {}).get("stopped_by")
    return reason if isinstance(reason, str) else None


def _outputs_of(path: Path, suite: str) -> Outputs:
    """Returns the greedy outputs for a suite."""
    return {
        (row["test"], row["prompt_label"], row["model"]): Output(row["completion"], not row["finished"])
        for row in _rows_of(path, suite)
    }


def _rows_of(path: Path, suite: str) -> Iterator[Mapping[str, Any]]:
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    columns = ["test", "prompt_label", "model", "completion", "finished"]
    of_suite = (pc.field("source") == "suite") & (pc.field("suite") == suite) & (pc.field("decoding") == "greedy")
    for batch in ds.dataset(path, format="parquet").to_batches(columns=columns, filter=of_suite):
        yield from batch.to_pylist()
