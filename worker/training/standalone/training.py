"""Trains without a service, from the request to the summary."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thumbwheel.wire.recipe import PAIRED, Recipe
from thumbwheel.wire.recipe_resolution import resolve

from worker.training.files.sealed import is_sound, read_cache, write_sealed
from worker.training.machine.process import StopRequest, TrainingRefusal
from worker.training.standalone.dataset import Dataset, read_dataset, require_enough
from worker.training.standalone.folder import Folder, asked_for, copy_adapter, copy_log_probs
from worker.training.standalone.request import TrainingRequest
from worker.training.standalone.snapshot import write_snapshot
from worker.training.standalone.summary import holdout_rows, summary_of

#: Codes of refusals that name a damaged file of WORKDIR.
DAMAGED = frozenset(
    {
        "job_damaged", "job_malformed", "snapshot_damaged", "shard_hash", "shard_missing", "reference_damaged",
        "reference_fingerprint",
    }
)  # fmt: skip


def train_alone(request: TrainingRequest, stop: StopRequest) -> dict[str, Any]:
    """Begins or continues the training of `request` in its OUT and returns its summary.

    A finished training is left as it is. Raises `TrainingRefusal` for any fault that the caller can correct, and
    `Stopped` after saving the state if `stop` is requested.
    """
    folder = Folder(request.out)
    work = folder.work
    with folder.alone():
        stage(folder, request, stop)
        scored = request.evaluate and holdout_rows(work) > 0
        finished_before = folder.holds_all(scores=scored)
        if not finished_before:
            _train(work, request, stop)
            folder.put()
            if scored and not is_sound(work / "scores.json"):
                from worker.evaluation.score import score

                score(work, stop)
                folder.put()
        return summary_of(folder.out, work, finished_before=finished_before)


def stage(folder: Folder, request: TrainingRequest, stop: StopRequest) -> None:
    """Fills WORKDIR for `request`, unless that was done by an earlier call. Raises `TrainingRefusal`."""
    recipe = request.recipe()
    requested = asked_for(request, recipe)
    if request.restart or not folder.begun_with(requested):
        data = read_dataset(request, recipe)
        require_enough(data, recipe, allow_imbalance=request.allow_imbalance)
        stop.raise_if_requested()
        folder.stage(requested, lambda work: _fill(work, request, recipe, data, requested))
    adapter = {"kind": "adapter", "path": "reference", "fingerprint": requested["reference"]}
    job = {
        "run_id": "alone",
        "base_model": str(request.model.absolute()),  # it may have moved since an earlier call
        "base_fingerprint": requested["model"],
        "reference": adapter if request.reference else {"kind": "base"},
        "reference_checkpoint_id": None,
    }
    content = json.dumps(job, indent=1).encode()
    if read_cache(folder.work / "job.json") != content:
        write_sealed(folder.work / "job.json", content)


def _train(work: Path, request: TrainingRequest, stop: StopRequest) -> None:
    # Loading takes seconds, and neither a refusal nor a finished training needs it.
    from worker.training.train import train_and_draw

    try:
        train_and_draw(work, stop)
    except TrainingRefusal as refusal:
        if refusal.code in DAMAGED:
            raise TrainingRefusal(refusal.code, f"{refusal.message} (--restart does that, and trains again)") from None
        if refusal.code != "no_chat_template":
            raise
        raise TrainingRefusal(
            refusal.code,
            f"{_first_chat_row(work)} is a chat, the tokenizer of --model {request.model} has no chat template: add "
            "chat_template.jinja to that folder, or give prompts and completions as text",
        ) from None


def _first_chat_row(work: Path) -> str:
    import pyarrow.parquet as pq

    path = min((work / "snapshot").glob("*-chat.parquet"), key=lambda path: path.name != "train-chat.parquet")
    return str(pq.read_table(path, columns=["completion_id"])["completion_id"][0])


def _fill(work: Path, request: TrainingRequest, recipe: Recipe, data: Dataset, requested: Mapping[str, Any]) -> None:
    """Writes all of WORKDIR except job.json."""
    snapshot = work / "snapshot"
    snapshot.mkdir()
    about = {
        "files": {key: requested[key] for key in ("data", "eval_data")},
        "holdout_share": request.holdout_share,
        "allow_imbalance": request.allow_imbalance,
        "columns_ignored": sorted(data.ignored),
    }
    write_snapshot(snapshot, data, about, pairs_from=recipe.pairs if recipe.objective in PAIRED else None)
    tally = data.train.tally
    resolved = resolve(recipe, tally.weight_desirable, tally.weight_undesirable)
    copy_log_probs(request.reuse, work / "scored-before")
    if request.reference is not None:
        copy_adapter(request.reference, work / "reference")
    write_sealed(work / "recipe.json", resolved.model_dump_json(indent=1).encode())
