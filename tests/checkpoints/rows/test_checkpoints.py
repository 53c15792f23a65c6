"""Checkpoints as rows: registered once, never changed, staged together with the weights that they are based on."""

import pytest
from sqlalchemy.exc import DatabaseError
from thumbwheel import wire

from app import artifacts, settings
from app.checkpoints import service as checkpoints
from app.database import new_id, transaction
from app.durable import sha256_of
from app.errors import NotFound
from app.releases import service as releases
from tests.desk import DESK, checkpoint, execute, make_project, vote


@pytest.fixture(autouse=True)
def _project(database):
    make_project()
    vote()


def get(checkpoint_id):
    with transaction() as session:
        return checkpoints.get(session, DESK, checkpoint_id)


def ship(checkpoint_id):
    with transaction() as session:
        return releases.ship(session, DESK, wire.NewRelease(checkpoint_id=checkpoint_id), "key test")


def stage(checkpoint_id, folder):
    with transaction() as session:
        parts = checkpoints.chain(session, DESK, checkpoint_id)
    return checkpoints.stage(parts, folder)


def base_id():
    ((only,),) = execute("SELECT id FROM checkpoints WHERE kind = 'base'")
    return only


def test_a_new_project_has_its_base_model_as_its_only_checkpoint():
    with transaction() as session:
        listed = checkpoints.page(session, DESK, cursor=None, limit=50).items

    assert [(base.id, base.verdict, base.live) for base in listed] == [(base_id(), "base", True)]


def test_a_checkpoint_knows_its_parent_its_verdict_and_its_files(tmp_path):
    registered = get(checkpoint(tmp_path, reasons=["auroc: too low"]))

    assert (registered.kind, registered.verdict, registered.reasons) == ("adapter", "refused", ["auroc: too low"])
    assert (registered.parent_id, registered.stands_on_id) == (base_id(), base_id())
    assert list(registered.files) == ["adapter_model.safetensors"]
    assert registered.scores == {"auroc": {"low": 0.7}}
    assert not registered.live


def test_postgres_refuses_to_change_a_checkpoint(tmp_path):
    registered = checkpoint(tmp_path, reasons=["auroc: too low"])

    with pytest.raises(DatabaseError, match="rows of checkpoints are never changed"):
        execute("UPDATE checkpoints SET verdict = 'passed' WHERE id = :id", id=registered)


def test_what_a_checkpoint_stands_on_follows_what_was_shipped(tmp_path):
    adapter = checkpoint(tmp_path)
    ship(adapter)
    on_adapter = checkpoint(tmp_path)
    assert (get(on_adapter).parent_id, get(on_adapter).stands_on_id) == (adapter, base_id())
    weights = checkpoint(tmp_path, kind="weights")
    assert (get(weights).parent_id, get(weights).stands_on_id) == (adapter, None)
    ship(weights)
    on_weights = checkpoint(tmp_path)
    assert (get(on_weights).parent_id, get(on_weights).stands_on_id) == (weights, weights)


def test_the_base_model_is_staged_as_the_folder_of_the_project(tmp_path):
    staged = stage(base_id(), tmp_path / "reference")

    assert str(staged.base_model) == str(staged.ancestor) == "/models/base"
    assert (staged.adapter, staged.base_fingerprint, staged.adapter_fingerprint) == (None, None, None)
    assert not (tmp_path / "reference").exists()


def test_an_adapter_on_weights_of_ours_is_staged_with_them(tmp_path):
    weights = checkpoint(tmp_path, kind="weights")
    ship(weights)
    adapter = checkpoint(tmp_path)

    staged = stage(adapter, tmp_path / "reference")

    assert staged.base_model == settings.current().work_dir / "weights" / str(weights)
    assert staged.adapter == tmp_path / "reference"
    assert staged.adapter_fingerprint == get(adapter).weights_sha256
    for folder, registered in ((staged.base_model, weights), (staged.adapter, adapter)):
        assert sha256_of(folder / "adapter_model.safetensors") == get(registered).weights_sha256
    assert str(staged.ancestor) == "/models/base"


def test_a_damaged_file_is_not_staged(tmp_path):
    adapter = checkpoint(tmp_path)
    sha256 = get(adapter).weights_sha256
    assert sha256 is not None
    stored = settings.current().data_dir / "artifacts" / "sha256" / sha256[:2] / sha256
    stored.chmod(0o600)
    stored.write_text("something else")

    with pytest.raises(artifacts.DamagedArtifact):
        stage(adapter, tmp_path / "reference")
    assert not (tmp_path / "reference" / "adapter_model.safetensors").exists()


def test_a_file_that_a_checkpoint_does_not_have_is_named(tmp_path):
    registered = checkpoint(tmp_path)

    with transaction() as session, pytest.raises(NotFound, match=r"it has adapter_model\.safetensors"):
        checkpoints.open_file(session, DESK, registered, "../../etc/passwd")
    with transaction() as session:
        source = checkpoints.open_file(session, DESK, registered, "adapter_model.safetensors")
    with source.file as file:
        assert file.read().startswith(b"weights of run ")
    assert source.sha256 == get(registered).weights_sha256


def test_checkpoints_of_another_project_are_not_there(tmp_path):
    registered = checkpoint(tmp_path)
    make_project("other")

    with transaction() as session:
        for checkpoint_id in (registered, new_id()):
            with pytest.raises(NotFound):
                checkpoints.get(session, "other", checkpoint_id)
        assert [item.kind for item in checkpoints.page(session, "other", cursor=None, limit=10).items] == ["base"]
