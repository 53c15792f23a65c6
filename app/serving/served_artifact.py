"""Names what a target loads for a checkpoint: its files, an immutable name, a content-addressed path. Pure.

vLLM's prefix cache is keyed by the name and the path of an adapter, so neither is ever used for other content.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from thumbwheel.wire.serving import (
    FolderSettings,
    LoraServerSettings,
    PublishingSettings,
    TargetSettings,
    WebhookTargetSettings,
)

ArtifactKind = Literal["base", "adapter", "merged", "weights"]
#: Who gets a model: all actors but those of the canary, or a share of them.
Role = Literal["live", "canary"]

#: The files of an adapter that a server needs.
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
#: Characters of the digest in a name.
NAMED = 12


@dataclass(frozen=True)
class LayerFiles:
    """The files of a checkpoint's layers: path → SHA-256. `base`: the fingerprint of the weights under an adapter."""

    base_model: str
    weights: Mapping[str, str] | None
    adapter: Mapping[str, str] | None
    base: str = ""


@dataclass(frozen=True)
class ServedArtifact:
    """A model as a target loads it.

    kind       base: the base model that the server has; merged: an adapter in its base model
    digest     of the content; empty for a base model
    name       in requests to servers that name what they load; empty for a base model
    folder     where workers write it; empty for a base model
    path       where the server reads it
    """

    kind: ArtifactKind
    digest: str
    name: str
    folder: str
    path: str


def artifact_of(project: str, layers: LayerFiles, settings: TargetSettings) -> ServedArtifact:
    """Returns what the target loads."""
    if layers.adapter is not None:
        kind: ArtifactKind = "adapter" if _loads_adapters(settings) else "merged"
    else:
        kind = "base" if layers.weights is None else "weights"
    if kind == "base":
        return ServedArtifact("base", "", "", "", settings.base_model or layers.base_model)
    digest = _digest(kind, layers)
    seen_by_server = settings.server_folder or settings.publish_folder
    return ServedArtifact(
        kind,
        digest,
        f"{project}-{digest[:NAMED]}",
        f"{settings.publish_folder}/{project}/{digest}",
        f"{seen_by_server}/{project}/{digest}",
    )


def published_files(artifact: ServedArtifact, layers: LayerFiles) -> Mapping[str, str]:
    """Returns the stored files (path → SHA-256) of which the folder consists; none for one that is merged."""
    if artifact.kind == "adapter":
        assert layers.adapter is not None
        return adapter_files(layers.adapter)
    return layers.weights or {} if artifact.kind == "weights" else {}


def adapter_files(files: Mapping[str, str]) -> dict[str, str]:
    return {path: files[path] for path in ADAPTER_FILES if path in files}


def pointer_of(project: str, target: str, settings: PublishingSettings, role: Role = "live") -> str:
    """Returns the path of the symbolic link of a target. Its suffix tells it from the folders beside it."""
    suffix = "current" if role == "live" else "canary"
    return f"{settings.publish_folder}/{project}/{target}.{suffix}"


def same_place(one: TargetSettings, other: TargetSettings) -> bool:
    """Returns whether both are of one server or folder, so that what was loaded there is there still."""
    places = ("kind", "url", "publish_folder", "server_folder", "base_model")
    return all(getattr(one, name, None) == getattr(other, name, None) for name in places)


def _loads_adapters(settings: TargetSettings) -> bool:
    if isinstance(settings, FolderSettings | WebhookTargetSettings):
        return settings.adapters == "as_they_are"
    return isinstance(settings, LoraServerSettings)


def _digest(kind: ArtifactKind, layers: LayerFiles) -> str:
    parts = [f"{sha256}  {path}" for path, sha256 in sorted((layers.weights or {}).items())]
    if layers.adapter is not None:
        own = [f"{sha256}  {path}" for path, sha256 in sorted(adapter_files(layers.adapter).items())]
        parts = own if kind == "adapter" else ["merged", layers.base, *parts, *own]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
