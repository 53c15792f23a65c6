"""Opens the connection to a target by its kind."""

from thumbwheel.wire.serving import (
    SglangSettings,
    TargetSettings,
    TransformersSettings,
    VllmSettings,
    WebhookTargetSettings,
)

from app.serving.targets.folder import FolderTarget
from app.serving.targets.sglang import SglangServer
from app.serving.targets.target import ServingClient
from app.serving.targets.transformers_serve import TransformersServer
from app.serving.targets.vllm import VllmServer
from app.serving.targets.webhook import WebhookServer


def connect(settings: TargetSettings, project: str, target: str) -> ServingClient:
    """Returns the target, which the caller closes. Raises `TargetRefused` if its key is missing."""
    if isinstance(settings, VllmSettings):
        return VllmServer(settings, project, target)
    if isinstance(settings, SglangSettings):
        return SglangServer(settings, project, target)
    if isinstance(settings, TransformersSettings):
        return TransformersServer(settings)
    if isinstance(settings, WebhookTargetSettings):
        return WebhookServer(settings, project, target)
    return FolderTarget(settings, project, target)
