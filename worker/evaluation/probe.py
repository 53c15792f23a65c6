"""Reads the prompts of probe.json with the candidate, and with the model that a server gives without it.

Each prompt is read alone, without padding or packing, as a server reads it. Log-probs are computed in float32 from
logits in the model's precision.

Legend: T tokens of one prompt, V vocabulary.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch

from app.checkpoints.probe_file import FILE, GREEDY_TOKENS, PROMPTS, Probe, ProbePrompt, ProbeReading
from worker.training.data.tokens import Tokens
from worker.training.files.sealed import write_sealed
from worker.training.forward.arithmetic import autocast
from worker.training.models.policy import Arithmetic

PRECISIONS: dict[torch.dtype, Literal["float32", "bfloat16"]] = {
    torch.float32: "float32",
    torch.bfloat16: "bfloat16",
}


class ProbeReader:
    """The readings of a run, model by model.

    context  tokens that the model reads at most, None: any number; longer prompts are left out
    stop     is called before each prompt; it may raise
    """

    def __init__(self, tokens: Tokens, context: int | None, arithmetic: Arithmetic, stop: Callable[[], None]) -> None:
        self._tokens, self._arithmetic, self._stop = tokens, arithmetic, stop
        most = None if context is None else max(2, context - GREEDY_TOKENS)
        self._prompts: dict[str, list[int]] = {}
        for text in PROMPTS:
            ids = list(tokens.tokenizer(text)["input_ids"])
            # A server that is sent texts would not cut them as we do.
            if len(ids) >= 2 and (most is None or len(ids) <= most):
                self._prompts[text] = ids
        self._readings: dict[str, list[tuple[list[float], str]]] = {}

    def read(self, name: Literal["candidate", "base"], model: Any) -> None:
        """Reads all prompts with the model."""
        with torch.no_grad(), autocast(self._arithmetic.device, self._arithmetic.precision):
            self._readings[name] = [self._reading(model, ids) for ids in self._prompts.values()]

    def write(self, workdir: Path) -> None:
        """Writes probe.json, unless no prompt fits into the model's context, or a model gives NaN for one."""
        values = [log_prob for readings in self._readings.values() for reading in readings for log_prob in reading[0]]
        if not values or not all(map(math.isfinite, values)):
            return
        prompts = [
            ProbePrompt(text=text, tokens=ids, candidate=_probe_reading(candidate), base=_probe_reading(base))
            for (text, ids), candidate, base in zip(
                self._prompts.items(), self._readings["candidate"], self._readings["base"], strict=True
            )
        ]
        probe = Probe(precision=PRECISIONS[self._arithmetic.precision], greedy_tokens=GREEDY_TOKENS, prompts=prompts)
        write_sealed(workdir / FILE, probe.model_dump_json(indent=1).encode())

    def _reading(self, model: Any, ids: list[int]) -> tuple[list[float], str]:
        self._stop()
        tokens_T = torch.tensor(ids, device=self._arithmetic.device)
        lp_TV = _logits(model, tokens_T).log_softmax(dim=-1)
        log_probs = lp_TV[:-1].gather(1, tokens_T[1:, None])[:, 0].tolist()
        return log_probs, self._continuation(model, tokens_T, int(lp_TV[-1].argmax()))

    def _continuation(self, model: Any, tokens_T: torch.Tensor, first: int) -> str:
        written = [first]
        while len(written) < GREEDY_TOKENS and written[-1] not in self._tokens.ends:
            read_T = torch.cat([tokens_T, torch.tensor(written, device=tokens_T.device)])
            written.append(int(_logits(model, read_T)[-1].argmax()))
        return str(self._tokens.tokenizer.decode(written, skip_special_tokens=True))


def _probe_reading(reading: tuple[list[float], str]) -> ProbeReading:
    return ProbeReading(log_probs=reading[0], greedy=reading[1])


def _logits(model: Any, tokens_T: torch.Tensor) -> torch.Tensor:
    """Returns the logits, [T, V], in float32."""
    logits: torch.Tensor = model(input_ids=tokens_T[None], use_cache=False).logits
    return logits[0].float()
