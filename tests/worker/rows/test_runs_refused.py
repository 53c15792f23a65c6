"""Runs that cannot be trained fail in the first second, before a snapshot is built or a process with torch starts."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from packaging.requirements import Requirement
from thumbwheel import wire

from app import artifacts
from app.checkpoints import service as checkpoints
from app.database import transaction
from app.durable import sha256_of
from app.releases import service as releases
from tests.desk import DESK, execute, make_project, ready_to_finish, request, shown, vote
from tests.desk import finish as register
from tests.saved_models import ADAPTED, BASE, safetensors, saved_adapter, saved_model
from worker.children.processes import Failed
from worker.execute import look
from worker.staging.attempt_folders import run_folder
from worker.staging.input_checks import require_libraries

REGISTERED = "SELECT (SELECT count(*) FROM snapshots), (SELECT count(*) FROM checkpoints)"
LORA = {"lora": {"rank": 4, "alpha": 8}}


@pytest.fixture
def base(database: str, tmp_path: Path) -> Path:
    """The base model of the project, intact until a test damages it."""
    folder = saved_model(tmp_path / "base")
    make_project(base_model=folder)
    vote()
    return folder


def refused(**new: Any) -> str:
    """Requests a run that the worker must refuse; returns the reason in its row and history, its only traces."""
    run = request(**new)
    before = execute(REGISTERED)

    look(run.id, lambda: False)

    ended = shown(run.id)
    assert (ended.state, ended.snapshot_id, ended.checkpoint_id, ended.attempts) == ("failed", None, None, 1)
    assert ended.reason
    assert "\n" not in ended.reason
    assert [move.to_state for move in ended.transitions][-1] == "failed"
    assert ended.transitions[-1].reason == ended.reason
    assert execute(REGISTERED) == before
    assert not (run_folder(run.id) / "epoch-1" / "trainer.log").exists()
    assert not (run_folder(run.id) / "epoch-1" / "snapshot").exists()
    return ended.reason


def ship(folder: Path, files: dict[str, Path], kind: str = "adapter") -> str:
    checkpoint_id = register(ready_to_finish(folder), folder, files=files, kind=kind)
    with transaction() as session:
        releases.ship(session, DESK, wire.NewRelease(checkpoint_id=checkpoint_id), "key test")
    return str(checkpoint_id)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


def in_two_files(folder: Path) -> None:
    """Splits the weights as in large models: an index and two files, of which the second is missing."""
    (folder / "model.safetensors").unlink()
    names = dict(zip(BASE, ("model-1.safetensors", "model-2.safetensors"), strict=True))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    safetensors(folder / "model-1.safetensors", dict(list(BASE.items())[:1]))


def with_an_empty_second_file(folder: Path) -> None:
    in_two_files(folder)
    safetensors(folder / "model-2.safetensors", {})


MODELS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "nothing there": (shutil.rmtree, "base_model: {} holds no config.json: name a folder with a saved model"),
    "no weights": (
        lambda folder: (folder / "model.safetensors").unlink(),
        "base_model: {} holds no weights (*.safetensors): name a complete folder",
    ),
    "weights cut short": (
        lambda folder: cut(folder / "model.safetensors"),
        "base_model: {}/model.safetensors is damaged (it has 1092 bytes, its header declares 1100): restore it",
    ),
    "weights that are none": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1"),
        "base_model: {}/model.safetensors is damaged (its header is longer than the format allows): restore it",
    ),
    "a file of several is missing": (
        in_two_files,
        (
            "base_model: {} lacks 1 of 2 files that its model.safetensors.index.json names, first model-2.safetensors: "
            "restore the folder"
        ),
    ),
    "a weight is missing": (
        with_an_empty_second_file,
        (
            "base_model: {} lacks 1 weights that its model.safetensors.index.json puts into model-2.safetensors, first "
            "model.layers.0.self_attn.q_proj.weight: restore the folder"
        ),
    ),
    "config.json is no JSON": (
        lambda folder: (folder / "config.json").write_text("[]"),
        "base_model: {}/config.json is damaged (it is not a JSON object): restore it",
    ),
    "a model nobody knows": (
        lambda folder: saved_model(folder, model_type="nonesuch"),
        (
            "base_model: {} is a model of the type nonesuch, which transformers VERSION of this worker does not know: "
            "install a newer one, or name another model"
        ),
    ),
    "no tokenizer": (
        lambda folder: (folder / "tokenizer.json").unlink(),
        "base_model: {} holds no tokenizer: add the model's tokenizer.json",
    ),
}


@pytest.mark.parametrize("case", MODELS)
def test_a_base_model_that_cannot_be_loaded_fails_the_run_with_one_sentence(base: Path, case: str) -> None:
    from importlib.metadata import version

    spoil, expected = MODELS[case]
    spoil(base)

    assert refused() == expected.replace("{}", str(base)).replace("VERSION", version("transformers"))


def test_a_model_s_name_in_place_of_its_folder_is_distinguished_from_a_folder(database: str) -> None:
    make_project()  # projects of earlier versions may have one; today it is refused at configuration
    execute("UPDATE projects SET base_model = 'acme/some-model-7b'")
    execute("ALTER TABLE checkpoints DISABLE TRIGGER USER")
    execute("UPDATE checkpoints SET base_model = 'acme/some-model-7b'")
    execute("ALTER TABLE checkpoints ENABLE TRIGGER USER")
    vote()

    assert refused() == (
        "base_model: acme/some-model-7b is not an absolute path: create a project with the folder of a saved model, as "
        "the workers see it; they do not download models"
    )


def test_a_library_that_is_too_old_for_the_trainer_is_named(base: Path, tmp_path: Path, monkeypatch: Any) -> None:
    # given an environment in which an old peft comes first
    (tmp_path / "site" / "peft-0.3.0.dist-info").mkdir(parents=True)
    (tmp_path / "site" / "peft-0.3.0.dist-info" / "METADATA").write_text("Name: peft\nVersion: 0.3.0\n")
    monkeypatch.syspath_prepend(tmp_path / "site")

    assert refused() == (
        "this worker cannot train, peft is 0.3.0, not >=0.17: run pip install 'thumbwheel-server[worker]' where it "
        "runs, then start the run again"
    )


def test_libraries_that_are_not_installed_are_named_together() -> None:
    with pytest.raises(Failed, match="cannot train, nonesuch-1 is not installed, nonesuch-2 is not installed: run pip"):
        require_libraries([Requirement("nonesuch-1>=1"), Requirement("packaging"), Requirement("nonesuch-2")])


# -- the reference ----------------------------------------------------------------------------------------------------


def lose(sha256: str) -> None:
    Path(artifacts.path_of(sha256)).unlink()


def damage(sha256: str) -> None:
    stored = Path(artifacts.path_of(sha256))
    stored.chmod(0o600)
    stored.write_bytes(b"something else")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lose, "The artifact store has no file {sha256}: restore it from a backup"),
        (damage, "The artifact {sha256} has another content than its name says: restore it from a backup"),
    ],
)
def test_a_shipped_checkpoint_that_the_store_lost_or_damaged_is_named(
    base: Path, tmp_path: Path, spoil: Callable[[str], None], expected: str
) -> None:
    shipped = ship(tmp_path, saved_adapter(tmp_path / "adapter"))
    sha256 = sha256_of(tmp_path / "adapter" / "adapter_model.safetensors")
    spoil(sha256)

    assert refused() == (
        f"reference: checkpoint {shipped} cannot be read: {expected.format(sha256=sha256)}, or ship another checkpoint"
    )


OTHER_SIZE = {f"{ADAPTED}.lora_A.weight": (4, 6), f"{ADAPTED}.lora_B.weight": (6, 4)}
ADAPTERS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "of another rank": (
        {"r": 8},
        LORA,
        (
            "recipe.json: lora.rank is 4, the shipped adapter has 8: set lora.rank to 8, or method to full to merge "
            "the adapter"
        ),
    ),
    "of another model": (
        {"shapes": OTHER_SIZE},
        LORA,
        (
            "reference: the shipped adapter does not fit this base model (it has 6 features for "
            "model.layers.0.self_attn.q_proj, whose weight is 8 × 8): stage the adapter that was trained on it"
        ),
    ),
}


@pytest.mark.parametrize("case", ADAPTERS)
def test_a_shipped_adapter_that_cannot_be_continued_fails_the_run(base: Path, tmp_path: Path, case: str) -> None:
    adapter, changes, expected = ADAPTERS[case]
    ship(tmp_path, saved_adapter(tmp_path / "adapter", **adapter))

    assert refused(changes=changes) == expected


def test_weights_of_ours_that_are_damaged_on_the_worker_s_disk_are_to_be_deleted(base: Path, tmp_path: Path) -> None:
    # given shipped weights that an earlier run brought to this machine
    shipped = ship(tmp_path, {path.name: path for path in base.iterdir()}, kind="weights")
    with transaction() as session:
        parts = checkpoints.chain(session, DESK, UUID(shipped))
    weights = checkpoints.stage(parts, tmp_path / "reference").base_model / "model.safetensors"
    cut(weights)

    assert refused() == (
        f"base_model: {weights} is damaged (it has 1092 bytes, its header declares 1100): delete this file, it is "
        "fetched again"
    )
    weights.unlink()
    run = request()
    look(run.id, lambda: True)
    assert shown(run.id).state == "snapshotting"
    assert weights.exists()


# -- the snapshot -----------------------------------------------------------------------------------------------------


def test_a_snapshot_that_cannot_be_read_again_fails_the_run(base: Path) -> None:
    # given a run whose worker fell silent after its snapshot was built, and is continued on another machine
    run = request()
    look(run.id, lambda: True)
    snapshot_id = shown(run.id).snapshot_id
    [(files,)] = execute("SELECT files FROM snapshots WHERE id = :id", id=snapshot_id)
    shutil.rmtree(run_folder(run.id))
    lose(files["manifest.json"])

    look(run.id, lambda: False)

    ended = shown(run.id)
    assert ended.state == "failed"
    assert ended.reason == (
        f"snapshot: {snapshot_id} cannot be read: The artifact store has no file {files['manifest.json']}: restore it "
        "from a backup, or start a run on a snapshot of its own"
    )
