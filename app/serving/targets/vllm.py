"""vLLM: `POST /v1/load_lora_adapter`, and log-probs of a prompt by `prompt_logprobs` of a completion.

The server is started with --enable-lora, --max-lora-rank and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True.
"""

from collections.abc import Sequence

from app.serving.served_artifact import ServedArtifact
from app.serving.targets.lora_server import LoraServer, finite_values
from app.serving.targets.target import TargetRefused


class VllmServer(LoraServer):
    PREFIX = "/v1"

    def _request_name(self, adapter: str, base: str) -> str:
        del base
        return adapter

    def _log_probs(self, model: str, artifact: ServedArtifact, tokens: Sequence[int]) -> list[float]:
        del artifact
        path = "/v1/completions"
        body = {"model": model, "prompt": list(tokens), "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
        document = self._http.post(path, body, patient=True)
        try:
            rows = document["choices"][0]["prompt_logprobs"]
            # One object per token, by token ids; null for the first.
            values = [row[str(token)]["logprob"] for row, token in zip(rows[1:], tokens[1:], strict=True)]
        except (KeyError, IndexError, TypeError, ValueError):
            raise TargetRefused(f"{path} answered no log-probs of the prompt (prompt_logprobs)") from None
        return finite_values(values, path)
