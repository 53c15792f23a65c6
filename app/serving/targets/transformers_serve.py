"""`transformers serve`: every request names the folder of a whole model, which the server loads when it is asked first.

It gives no log-probs (5.23 refuses `logprobs` and `echo`), so its most probable continuations are compared.
"""

import json
import os
from collections.abc import Mapping

from thumbwheel.wire.serving import TransformersSettings

from app.checkpoints.probe_file import Probe
from app.serving.served_artifact import Role, ServedArtifact
from app.serving.targets.server_http import ServerHttp
from app.serving.targets.target import ServerReadings, TargetRefused

PATH = "/v1/completions"


class TransformersServer:
    def __init__(self, settings: TransformersSettings, environment: Mapping[str, str] = os.environ) -> None:
        self._http = ServerHttp(settings, environment)

    def close(self) -> None:
        self._http.close()

    def load(self, artifact: ServedArtifact, role: Role) -> str:
        """Sends a first request, which loads the folder."""
        del role
        self._continuation(artifact.path, "1", 1)
        return artifact.path

    def find(self, artifact: ServedArtifact, role: Role) -> str | None:
        """Returns the folder if the server is up: it loads what a request names."""
        del role
        self._http.get("/health")
        return artifact.path

    def unload(self, artifact: ServedArtifact) -> None:
        """Leaves the model to the server, which unloads what nobody requests."""

    def end_canary(self) -> None:
        """Returns at once: a canary has its artifact alone."""

    def read(self, model: str, artifact: ServedArtifact, probe: Probe) -> ServerReadings:
        del artifact
        return ServerReadings(
            greedy=[self._continuation(model, each.text, probe.greedy_tokens) for each in probe.prompts]
        )

    def restart_for(self, artifact: ServedArtifact) -> str | None:
        """Returns None: nothing is restarted."""

    def _continuation(self, model: str, prompt: str, tokens: int) -> str:
        # In place of the model's own generation_config, whose penalties would change what is most probable.
        greedy = json.dumps({"do_sample": False, "max_new_tokens": tokens})
        body = {"model": model, "prompt": prompt, "max_tokens": tokens, "generation_config": greedy}
        document = self._http.post(PATH, body, patient=True)
        try:
            text = document["choices"][0]["text"]
        except (KeyError, IndexError, TypeError):
            raise TargetRefused(f"{PATH} answered no completion") from None
        if not isinstance(text, str):
            raise TargetRefused(f"{PATH} answered a completion without text")
        return text
