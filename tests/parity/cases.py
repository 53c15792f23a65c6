"""The inputs of both sides: rows, pairs, and a reference that differs from the policy.

They are chosen for the precision of float32. A log-ratio is a small difference of large sums, so completions are short
(the last digit of a sum of 20 nats is 2e-6) and the reference is several nats away from the policy: then r and z0 have
enough digits to compare. β·(r − z0) stays below 3 or so, since a saturated sigmoid has no digits on either side. The
policy is a plain random model, whose gradients have enough digits too.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tests.trainer import tiny

RowDict = Mapping[str, Any]
#: Tokens of prompt and completion together; no row here reaches it.
MAX_LENGTH = 96


def unpaired(count: int = 8, *, desirable: bool | None = None, letters: int = 1) -> list[dict[str, Any]]:
    """Returns rows whose completions are different words cut to `letters`; every third is desirable, or all alike."""
    return [
        {
            "prompt": row["prompt"],
            "completion": f" {word[:letters]}",
            "label": row["label"] if desirable is None else desirable,
        }
        for row, word in zip(tiny.text_rows(count), tiny.WORDS, strict=False)
    ]


def preferences(
    count: int = 3, *, letters: tuple[int, int] = (2, 1), prompt: str | None = None
) -> list[dict[str, str]]:
    """Returns pairs whose chosen and rejected completions are words cut to `letters`; `prompt`, if given, is shared."""
    prompts, words = tiny.sentences(count, seed=3), tiny.WORDS
    return [
        {
            "prompt": prompt or f"{number} {prompts[number]}:",
            "chosen": f" {words[number][: letters[0]]}",
            "rejected": f" {words[-1 - number][: letters[1]]}",
        }
        for number in range(count)
    ]


def as_rows(pairs: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Returns pairs as rows of the trainer: chosen, rejected, chosen, rejected, …"""
    return [
        {"prompt": pair["prompt"], "completion": pair[name], "label": name == "chosen"}
        for pair in pairs
        for name in ("chosen", "rejected")
    ]


def sharpened(model: Any, times: float = 4.0) -> Any:
    """Returns a copy with logits multiplied by `times`: surer of itself, and so mostly wrong. As a reference it gives
    every completion a lower probability than the model does: r > 0 and z0 > 0.
    """
    copied = copy.deepcopy(model)
    with torch.no_grad():
        copied.get_output_embeddings().weight.mul_(times)
    return copied


def taught(model: Any, steps: int = 2) -> Any:
    """Returns a copy trained on the rows. As a reference it gives them a higher probability: r < 0, z0 clamped."""
    copied = copy.deepcopy(model)
    weights = [weight for weight in copied.parameters() if weight.requires_grad]
    encoded = tiny.tokenizer()([row["prompt"] + row["completion"] for row in unpaired(12)])["input_ids"]
    for _ in range(steps):
        for ids in encoded:
            ids_BT = torch.tensor([ids])
            copied(input_ids=ids_BT, labels=ids_BT).loss.backward()
        norm = torch.nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None])
        with torch.no_grad():
            for weight in weights:
                if weight.grad is not None:
                    weight.sub_(2 * weight.grad / norm)
        copied.zero_grad(set_to_none=True)
    return copied


def overdone(adapted: Any, times: float = 5.0) -> Any:
    """Returns a copy with an adapter `times` as strong: another adapter of the same base, far from zero."""
    copied = copy.deepcopy(adapted)
    with torch.no_grad():
        for name, weight in copied.named_parameters():
            if "lora_B" in name:
                weight.mul_(times)
    return copied
