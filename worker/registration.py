"""Registration of a finished WORKDIR: a manifest, a model card, and files in the artifact store."""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from thumbwheel.wire.recipe import Recipe

from app import artifacts
from app.checkpoints import few_shots
from app.checkpoints.card import card
from app.checkpoints.held_out_scores import FILE as HELD_OUT_SCORES
from app.checkpoints.probe_file import FILE as PROBE
from app.checkpoints.samples import files as samples
from app.checkpoints.service import CARD, MANIFEST, SAMPLES
from app.database import transaction
from app.durable import sha256_of, write_atomically
from app.errors import ThumbwheelError, brief
from app.gates.decide import decide
from app.runs.leases.service import Claimed
from app.snapshots import service as snapshots
from app.suites.outcomes_file import OUTCOMES, regressions
from worker.children.processes import Failed
from worker.evaluation import suites
from worker.judging import JUDGE_SCORES
from worker.training.files.sealed import DamagedFile, is_sound, read, read_cache, seal_of, sums, verify

log = logging.getLogger(__name__)

#: Files of the scorer for comparisons of checkpoints; each may be missing.
SCORES_OF_ROWS = (HELD_OUT_SCORES, few_shots.SCORES, few_shots.REPLIES)
#: Tests on the card that the shipped checkpoint passed and this one fails, and characters of each output.
REGRESSIONS, SHOWN = 5, 600


def recipe_of(workdir: Path) -> Recipe:
    """The recipe that the trainer went by, nothing in it left to the machine. Its summary has it; one that was written
    before recipes could leave anything to the machine has not, and recipe.json is the same.
    """
    training = _document(workdir / "training.json")
    return Recipe.model_validate(training.get("recipe") or _document(workdir / "recipe.json"))


def manifest_of(claimed: Claimed, snapshot_id: UUID, workdir: Path) -> dict[str, Any]:
    """Returns the manifest of the checkpoint in WORKDIR/output.

    project, run_id, kind, weights_sha256, reference_checkpoint_id, shipped_checkpoint_id (when the run was requested;
    another one if the run has a base model of its own), base_model, snapshot {id, sha256, counts, pairs},
    recipe (as it was trained by), training (the rest of training.json), scores (scores.json, and under `suites` and
    `judge` suite_scores.json and judge_scores.json), suite_regressions (tests that only the shipped checkpoint
    passed), gates {version, sha256, document}, verdict, reasons, decision (a `wire.RuleDecision` per rule),
    files (path → sha256)
    """
    names = ("job.json", "training.json", "scores.json", "snapshot/manifest.json")
    job, training, scores, snapshot = (_document(workdir / name) for name in names)
    judged = read_cache(workdir / JUDGE_SCORES)  # a judge never fails a run: damaged figures are missing
    if judged is not None:
        scores = {**scores, "judge": json.loads(judged)}
    pairs = snapshot.get("pairs", {"train": 0, "holdout": 0})
    if (workdir / suites.SCORES).is_file():
        scores["suites"] = _document(workdir / suites.SCORES)
    gates = claimed.configuration.gates
    decision = decide(gates.document, scores, training)
    return {
        "project": claimed.project,
        "run_id": str(claimed.lease.run_id),
        "kind": training["kind"],
        "weights_sha256": training["weights_sha256"],
        "reference_checkpoint_id": str(claimed.reference_checkpoint_id),
        "shipped_checkpoint_id": str(claimed.shipped_checkpoint_id),
        "base_model": job["base_model"],
        "snapshot": {
            "id": str(snapshot_id),
            "sha256": sha256_of(workdir / "snapshot" / "manifest.json"),
            "counts": snapshot["counts"],
            "pairs": {split: pairs[split] for split in ("train", "holdout")},
        },
        "recipe": recipe_of(workdir).model_dump(mode="json"),
        "training": {name: value for name, value in training.items() if name != "recipe"},
        "scores": scores,
        "suite_regressions": _suite_regressions(workdir),
        "gates": gates.model_dump(mode="json"),
        "verdict": decision.verdict,
        "reasons": decision.reasons,
        "decision": [row.model_dump(mode="json") for row in decision.rules],
        "files": _files_of(workdir / "output"),
    }


def _files_of(output: Path) -> dict[str, str]:
    """Returns the SHA-256 of each file as it was saved; `store` compares it with what is there. Raises `Failed`."""
    try:
        saved = sums(seal_of(output))
    except DamagedFile as damage:
        raise _damaged(damage) from None
    if saved is None:
        raise Failed(f"{seal_of(output)} is missing: retry the run, which saves its weights again")
    return {str(Path(name).relative_to(output.name)): digest for name, digest in sorted(saved.items())}


def grade_suites(workdir: Path, heed: Callable[[], None], evidence_of: suites.EvidenceOf = suites.nothing) -> None:
    """Grades the samples for the run's suites. Raises `Failed` if a file is damaged, and what `heed` raises."""
    try:
        suites.grade_suites(workdir, heed, evidence_of)
    except DamagedFile as damage:
        raise _damaged(damage) from None


def _suite_regressions(workdir: Path) -> list[dict[str, Any]]:
    """Returns the worst tests that the shipped checkpoint passed and this one fails, with their outputs shortened."""
    path = workdir / OUTCOMES
    if not path.is_file():
        return []
    worst = regressions(path, REGRESSIONS)
    return [
        {
            **{name: row[name] for name in ("suite", "test", "description", "prompt_label")},
            "shipped": brief(row["shipped"]["output"] or "", SHOWN),
            "candidate": brief(row["candidate"]["output"] or "", SHOWN),
            "reason": brief(row["candidate"]["reason"], SHOWN),
        }
        for row in worst
    ]


def _document(path: Path) -> Any:
    try:
        return json.loads(read(path))
    except DamagedFile as damage:
        raise _damaged(damage) from None


def _damaged(damage: DamagedFile) -> Failed:
    return Failed(f"{damage}: retry the run, which makes it again; check this disk for faults")


def store(manifest: Mapping[str, Any], workdir: Path) -> dict[str, str]:
    """Stores every file, including card and manifest, in the artifact store; returns the SHA-256 of each path.

    Raises `Unavailable`, and `Failed` if a file of the checkpoint has changed since it was saved.
    """
    write_atomically(workdir / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False).encode())
    write_atomically(workdir / CARD, card(manifest, _samples(workdir / SAMPLES)).encode())
    places = {path: workdir / "output" / path for path in manifest["files"]}
    places |= {name: workdir / name for name in (MANIFEST, CARD, SAMPLES)}
    places |= {name: workdir / name for name in (OUTCOMES, PROBE, *SCORES_OF_ROWS) if (workdir / name).is_file()}
    for name in (PROBE, *SCORES_OF_ROWS):
        if name in places:
            _require_sealed(places[name])
    stored = {path: artifacts.put(place).sha256 for path, place in sorted(places.items())}
    for path, digest in manifest["files"].items():
        if stored[path] != digest:
            raise _damaged(DamagedFile(places[path], "its content differs from its SHA-256"))
    return stored


def _samples(path: Path) -> list[dict[str, samples.Row]]:
    """Returns the samples of all models, prompt by prompt. Raises `Failed` if the file differs from its seal."""
    _require_sealed(path)
    return samples.sets_of(samples.read(path))


def _require_sealed(path: Path) -> None:
    """Raises `Failed` if the file differs from its seal, or has none."""
    try:
        if not verify(seal_of(path)):
            raise DamagedFile(path, "it has no seal")
    except DamagedFile as damage:
        raise _damaged(damage) from None


def suspicions_of(workdir: Path) -> list[tuple[str, bool, float]]:
    """Returns completion id, label and suspicion of each held-out row; none if there were too few rows to judge."""
    found = _document(workdir / "suspicion.json")
    return list(zip(found["completion_id"], found["desirable"], found["suspicion"], strict=True))


def keep_log_probs(claimed: Claimed, snapshot_id: UUID, workdir: Path) -> None:
    """Stores the reference's log-probs of this run for later runs, however it ended.

    They only save time, so nothing is raised if they cannot be stored.
    """
    scored = workdir / "reference.safetensors"
    if not is_sound(scored):
        return
    try:
        with transaction() as session:
            snapshots.keep_log_probs(session, snapshot_id, claimed.reference_checkpoint_id, scored)
    except (ThumbwheelError, OSError) as error:
        log.warning("run %s: its reference's log-probs are not kept: %s", claimed.lease.run_id, error)
