"""Servers that load adapters while they run: vLLM and SGLang, which differ in paths and in how they give log-probs."""

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thumbwheel.wire.serving import LoraServerSettings

from app.checkpoints.probe_file import Probe
from app.serving.served_artifact import Role, ServedArtifact, pointer_of
from app.serving.targets import folder
from app.serving.targets.server_http import ServerHttp, is_model_name
from app.serving.targets.target import ServerReadings, TargetRefused


@dataclass(frozen=True)
class ListedModel:
    """A model in `GET /v1/models`. `parent`: the base model under an adapter."""

    name: str
    root: str | None
    parent: str | None


class LoraServer(ABC):
    """A server with a base model and adapters beside each other.

    project, target  for the name of the pointer to full weights
    """

    #: Before `/load_lora_adapter` and `/unload_lora_adapter`.
    PREFIX: str

    def __init__(
        self, settings: LoraServerSettings, project: str, target: str, environment: Mapping[str, str] = os.environ
    ) -> None:
        self._settings = settings
        self._pointer = pointer_of(project, target, settings)
        self._http = ServerHttp(settings, environment)

    def close(self) -> None:
        self._http.close()

    def load(self, artifact: ServedArtifact, role: Role) -> str:
        """Loads an adapter. A base model is there already. For full weights that are live the pointer is swapped, and
        the probe tells whether the server was restarted.
        """
        models = self._models()
        base = _base_of(models)
        if artifact.kind in ("base", "weights"):
            if self._settings.full_weights == "by_restart" and role == "live":
                folder.swap(self._pointer, artifact.folder or artifact.path)
            return base
        listed = next((model for model in models if model.name == artifact.name), None)
        if listed is None:
            status, text = self._http.order(
                f"{self.PREFIX}/load_lora_adapter", {"lora_name": artifact.name, "lora_path": artifact.path}
            )
            # Whatever it answered, it may have loaded it: 400 is also the answer to a name that is loaded already.
            listed = next((model for model in self._models() if model.name == artifact.name), None)
            if listed is None:
                hint = " (it answers 404 or 405 unless it was started with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True)"
                raise TargetRefused(
                    f"it answered {status} to {artifact.name}: {text}" + (hint if status in (404, 405) else "")
                )
        if listed.root not in (None, artifact.path):
            raise TargetRefused(
                f"it has another folder under the name {artifact.name}: {self._http.safe(str(listed.root))} instead of "
                f"{artifact.path}"
            )
        return self._request_name(artifact.name, base)

    def find(self, artifact: ServedArtifact, role: Role) -> str | None:
        del role
        models = self._models()
        base = next((model.name for model in models if model.parent is None), None)
        if base is None or artifact.kind in ("base", "weights"):
            return base
        listed = any(model.name == artifact.name and model.root in (None, artifact.path) for model in models)
        return self._request_name(artifact.name, base) if listed else None

    def unload(self, artifact: ServedArtifact) -> None:
        if artifact.kind == "adapter" and any(model.name == artifact.name for model in self._models()):
            status, text = self._http.order(f"{self.PREFIX}/unload_lora_adapter", {"lora_name": artifact.name})
            if any(model.name == artifact.name for model in self._models()):
                raise TargetRefused(f"it answered {status} to the unloading of {artifact.name}: {text}")

    def end_canary(self) -> None:
        """Returns at once: a canary has its artifact alone."""
        return

    def read(self, model: str, artifact: ServedArtifact, probe: Probe) -> ServerReadings:
        return ServerReadings(log_probs=[self._log_probs(model, artifact, each.tokens) for each in probe.prompts])

    def restart_for(self, artifact: ServedArtifact) -> str | None:
        if artifact.kind in ("base", "weights") and self._settings.full_weights == "by_restart":
            return f"restart the server, which has to load {artifact.path} ({self._pointer} points to it)"
        return None

    @abstractmethod
    def _request_name(self, adapter: str, base: str) -> str:
        """Returns the name by which requests in OpenAI's shape get an adapter."""

    @abstractmethod
    def _log_probs(self, model: str, artifact: ServedArtifact, tokens: Sequence[int]) -> list[float]:
        """Returns the log-probs of all tokens but the first."""

    def _models(self) -> list[ListedModel]:
        document = self._http.get("/v1/models")
        try:
            return [
                ListedModel(each["id"], each.get("root"), each.get("parent"))
                for each in document["data"]
                if is_model_name(each["id"])
            ]
        except (KeyError, TypeError, AttributeError):
            raise TargetRefused("/v1/models answered no list of models: is this the address of the server?") from None


def finite_values(values: Sequence[Any], path: str) -> list[float]:
    """Returns log-probs of a server as numbers. Raises `TargetRefused` if one is none."""
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        raise TargetRefused(f"{path} answered log-probs that are no finite numbers")
    return [float(value) for value in values]


def _base_of(models: Sequence[ListedModel]) -> str:
    base = next((model.name for model in models if model.parent is None), None)
    if base is None:
        raise TargetRefused("/v1/models lists no base model")
    return base
