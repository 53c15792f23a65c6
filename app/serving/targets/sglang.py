"""SGLang: `POST /load_lora_adapter` without /v1, and log-probs of a prompt by its native `/generate`.

The server is started with --enable-lora, --max-lora-rank and --lora-target-modules all. Requests in OpenAI's shape name
an adapter as `base:adapter`.
"""

from collections.abc import Sequence

from app.serving.served_artifact import ServedArtifact
from app.serving.targets.lora_server import LoraServer, finite_values
from app.serving.targets.target import TargetRefused


class SglangServer(LoraServer):
    PREFIX = ""

    def _request_name(self, adapter: str, base: str) -> str:
        return f"{base}:{adapter}"

    def _log_probs(self, model: str, artifact: ServedArtifact, tokens: Sequence[int]) -> list[float]:
        del model
        path = "/generate"
        body = {
            "input_ids": list(tokens),
            "sampling_params": {"max_new_tokens": 1, "temperature": 0},
            "return_logprob": True,
            "logprob_start_len": 0,
            **({"lora_path": artifact.name} if artifact.kind == "adapter" else {}),
        }
        document = self._http.post(path, body, patient=True)
        try:
            rows = document["meta_info"]["input_token_logprobs"]
            if [row[1] for row in rows] != list(tokens):
                raise ValueError(rows)
            values = [row[0] for row in rows[1:]]  # null for the first
        except (KeyError, IndexError, TypeError, ValueError):
            raise TargetRefused(f"{path} answered no log-probs of the prompt (input_token_logprobs)") from None
        return finite_values(values, path)
