"""Names and paths of what is served depend on the content alone."""

from thumbwheel.wire.serving import FolderSettings, TransformersSettings, VllmSettings

from app.serving.served_artifact import LayerFiles, artifact_of, published_files

VLLM = VllmSettings(kind="vllm", url="http://host", publish_folder="/srv/models", server_folder="/models")
FOLDER = FolderSettings(kind="folder", publish_folder="/srv/models")
WHOLE = TransformersSettings(kind="transformers", url="http://host", publish_folder="/srv/models", base_model="/m/base")
ADAPTER = {"adapter_config.json": "c" * 64, "adapter_model.safetensors": "d" * 64, "tokenizer.json": "e" * 64}


def layers(**changes) -> LayerFiles:
    return LayerFiles(**{"base_model": "/b", "weights": None, "adapter": ADAPTER, "base": "f", **changes})


def test_an_adapter_is_published_as_the_two_files_that_a_server_needs_under_their_digest():
    artifact = artifact_of("desk", layers(), VLLM)

    assert set(published_files(artifact, layers())) == {"adapter_config.json", "adapter_model.safetensors"}
    assert artifact.folder == f"/srv/models/desk/{artifact.digest}"
    assert artifact.path == f"/models/desk/{artifact.digest}"
    assert artifact.name == f"desk-{artifact.digest[:12]}"
    other = artifact_of("desk", layers(adapter={**ADAPTER, "adapter_model.safetensors": "0" * 64}), VLLM)
    assert other.digest != artifact.digest
    assert artifact_of("desk", layers(adapter=dict(reversed(ADAPTER.items()))), VLLM) == artifact


def test_an_adapter_is_merged_for_servers_of_whole_models_and_depends_on_its_base():
    merged = artifact_of("desk", layers(), WHOLE)

    assert (merged.kind, dict(published_files(merged, layers()))) == ("merged", {})
    assert merged.digest != artifact_of("desk", layers(), VLLM).digest
    assert merged.digest != artifact_of("desk", layers(base="another"), WHOLE).digest
    as_it_is = FOLDER.model_copy(update={"adapters": "as_they_are"})
    assert artifact_of("desk", layers(), as_it_is).kind == "adapter"


def test_a_base_model_is_published_nowhere():
    base = artifact_of("desk", layers(adapter=None), FOLDER)

    assert (base.kind, base.digest, base.folder, base.path) == ("base", "", "", "/b")
    assert artifact_of("desk", layers(adapter=None), WHOLE).path == "/m/base"


def test_full_weights_are_published_whole():
    weights = layers(weights={"model.safetensors": "1" * 64}, adapter=None)

    assert dict(published_files(artifact_of("desk", weights, VLLM), weights)) == {"model.safetensors": "1" * 64}
