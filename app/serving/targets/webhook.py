"""An endpoint of the operator that is asked to serve models, for servers that load them in a way of their own.

    POST URL  {"action": "serve", "project", "target", "role", "kind", "name", "folder", "sha256"}
              → {"state": "serving", "model": the name in requests}, or {"state": "loading", "reason"}
    POST URL  {"action": "unload", …}  → any JSON

`serve` is repeated every minute, so it has to be idempotent and quick; a load that takes long is answered by "loading".
"""

import os
from collections.abc import Mapping
from typing import Any

from thumbwheel.wire.serving import WebhookTargetSettings

from app.checkpoints.probe_file import Probe
from app.serving.served_artifact import Role, ServedArtifact
from app.serving.targets.server_http import ServerHttp, is_model_name
from app.serving.targets.target import ServerReadings, TargetAway, TargetRefused


class WebhookServer:
    def __init__(
        self,
        settings: WebhookTargetSettings,
        project: str,
        target: str,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._http = ServerHttp(settings, environment)
        self._who = {"project": project, "target": target}

    def close(self) -> None:
        self._http.close()

    def load(self, artifact: ServedArtifact, role: Role) -> str:
        """Asks the endpoint to serve the artifact. Raises `TargetAway` while it answers that it loads."""
        return self._served(artifact, role, patient=True)

    def find(self, artifact: ServedArtifact, role: Role) -> str | None:
        """Asks again, as an endpoint that was started again has to load the model."""
        return self._served(artifact, role)

    def unload(self, artifact: ServedArtifact) -> None:
        self._order("unload", artifact, None)

    def end_canary(self) -> None:
        """Returns at once: a canary has its artifact alone."""

    def read(self, model: str, artifact: ServedArtifact, probe: Probe) -> ServerReadings:
        del model, artifact, probe
        return ServerReadings(nothing_because="what is behind a webhook is not probed")

    def restart_for(self, artifact: ServedArtifact) -> str | None:
        """Returns None: the endpoint restarts what it needs to."""

    def _served(self, artifact: ServedArtifact, role: Role, *, patient: bool = False) -> str:
        answer = self._order("serve", artifact, role, patient=patient)
        if answer.get("state") == "loading":
            reason = answer.get("reason")
            raise TargetAway("it is loading" + (f": {self._http.safe(reason)}" if isinstance(reason, str) else ""))
        model = answer.get("model")
        if answer.get("state") != "serving" or not is_model_name(model):
            raise TargetRefused('it answered neither {"state": "serving", "model": …} nor {"state": "loading"}')
        return model

    def _order(
        self, action: str, artifact: ServedArtifact, role: Role | None, *, patient: bool = False
    ) -> dict[str, Any]:
        body = {
            "action": action, **self._who, "role": role, "kind": artifact.kind, "name": artifact.name,
            "folder": artifact.path, "sha256": artifact.digest or None,
        }  # fmt: skip
        answer = self._http.post("", body, patient=patient)
        return answer if isinstance(answer, dict) else {}
