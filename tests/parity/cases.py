"""What both sides are given: rows, pairs, and a reference that differs from the policy.

Chosen for what float32 can show. A log-ratio is a small difference of large sums, so completions are short (the last
digit of a sum of 20 nats is 2e-6) and the reference is several nats away from the policy: then r and z0 have digits to
compare. β·(r − z0) stays below 3 or so: towards its ends a sigmoid has none, whoever computes it. The policy itself is
a plain random model, whose gradients have digits too.
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
    """Rows whose completions are words cut to `letters`, all different. Every third one desirable, or one class."""
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
    """Pairs whose completions, chosen and rejected, are words cut to `letters`; one `prompt` for all where given."""
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
    """Pairs as rows of ours: chosen, rejected, chosen, rejected, …"""
    return [
        {"prompt": pair["prompt"], "completion": pair[name], "label": name == "chosen"}
        for pair in pairs
        for name in ("chosen", "rejected")
    ]


def sharpened(model: Any, times: float = 4.0) -> Any:
    """A copy with logits so many times as large: surer of itself, and so mostly wrong. As a reference it finds every
    completion less likely than the model does: r > 0 and z0 > 0.
    """
    copied = copy.deepcopy(model)
    with torch.no_grad():
        copied.get_output_embeddings().weight.mul_(times)
    return copied


def taught(model: Any, steps: int = 2) -> Any:
    """A copy that has seen the rows. As a reference it finds them likelier than the model does: r < 0, z0 clamped."""
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
    """A copy whose adapters do so many times as much: another adapter of the same base, and far from zero."""
    copied = copy.deepcopy(adapted)
    with torch.no_grad():
        for name, weight in copied.named_parameters():
            if "lora_B" in name:
                weight.mul_(times)
    return copied
