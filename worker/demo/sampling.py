"""Samples many replies of a model at once, at temperature 1 and without truncation of its distribution.

Shapes: B rows, T tokens, V vocabulary.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from worker.generation.sampler import Request, Sampler
from worker.generation.ways import PADDED

#: The way in which rows share a batch: the demo's model, a Llama, reads padding and caches as it should.
WAY = PADDED
#: Rows of one forward pass. The model is so small that few rows cost nearly as much as many.
BATCH_SIZE = 512
MAX_NEW_TOKENS = 48


@dataclass(frozen=True)
class Desk:
    """A loaded model with its tokenizer."""

    model: Any
    tokenizer: Any


@dataclass(frozen=True)
class SampledReply:
    """A sampled reply. `token_ids` end with the end-of-text token unless the reply reached the limit."""

    prompt_ids: list[int]
    token_ids: list[int]
    text: str


def load(folder: Path, base: Path | None = None) -> Desk:
    """Returns the model in `folder`, or, if that contains an adapter, the model in `base` with the adapter."""
    if (folder / "adapter_config.json").exists():
        from peft import PeftModel

        from worker.training.files.model_folders import require_adapter_weights

        require_adapter_weights(folder)
        if base is None:
            raise ValueError(f"{folder} holds an adapter: name the folder of its base model")
        model = PeftModel.from_pretrained(_model(base), folder)
    else:
        model = _model(folder)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Desk(model.eval().to(device), AutoTokenizer.from_pretrained(base or folder))


def _model(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, use_safetensors=True)


def sample(desk: Desk, prompts: Sequence[str], seed: int) -> list[SampledReply]:
    """Returns one reply per prompt, in their order."""
    prompt_ids = [np.array(ids, dtype=np.int32) for ids in desk.tokenizer(list(prompts))["input_ids"]]
    requests = [Request(ids, 1.0, MAX_NEW_TOKENS, stream) for stream, ids in enumerate(prompt_ids)]
    ends = [desk.tokenizer.eos_token_id]
    written = Sampler(desk.model, WAY, ends, rows_at_once=BATCH_SIZE, seed=seed).write(requests)
    texts = desk.tokenizer.batch_decode([reply.tokens for reply in written], skip_special_tokens=True)
    return [
        SampledReply(ids.tolist(), reply.tokens.tolist(), text)
        for ids, reply, text in zip(prompt_ids, written, texts, strict=True)
    ]


@torch.inference_mode()
def log_probabilities(desk: Desk, drafts: Sequence[SampledReply]) -> torch.Tensor:
    """Returns the log-probability of each draft given its prompt, (len(drafts),): nats, summed over tokens, float64."""
    total = torch.zeros(len(drafts), dtype=torch.float64)
    for indices in _equally_long([[*draft.prompt_ids, *draft.token_ids] for draft in drafts]):
        rows = [drafts[index] for index in indices]
        ids_BT = torch.tensor([[*row.prompt_ids, *row.token_ids] for row in rows], device=desk.model.device)
        log_p_BTV = desk.model(input_ids=ids_BT, use_cache=False).logits[:, :-1].float().log_softmax(-1)
        chosen_BT = log_p_BTV.gather(-1, ids_BT[:, 1:, None]).squeeze(-1).double().cpu()
        starts_B = torch.tensor([len(row.prompt_ids) - 1 for row in rows])
        of_reply_BT = torch.arange(chosen_BT.shape[1]) >= starts_B[:, None]
        total[indices] = (chosen_BT * of_reply_BT).sum(-1)
    return total


def _equally_long(rows: Iterable[Sequence[int]]) -> Iterable[list[int]]:
    """Yields the indices of rows of equal length, at most BATCH_SIZE at a time."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        by_length[len(row)].append(index)
    for _, indices in sorted(by_length.items()):
        for start in range(0, len(indices), BATCH_SIZE):
            yield indices[start : start + BATCH_SIZE]
