"""Log-probs of completions under a causal language model.

Legend: B rows, T tokens of the longest row, N completion tokens of all rows together, V vocabulary, H hidden size.
Log-probs are in nats, in float32, summed over a row's completion tokens; prompt and padding never count.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from worker.kto.tokens import Ids


@dataclass(frozen=True)
class Sequences:
    """Prompts with completions, padded on the right.

    Under causal attention no real token sees the padding behind it, so there is no attention mask; what counts is
    known by position alone, and the padding's id does not matter.
    """

    ids_BT: Tensor
    length_B: Tensor  # tokens of each row, prompt and completion
    source_N: Tensor  # positions in the flattened B·T at which a completion token comes *next*
    target_N: Tensor  # the completion tokens
    tokens: int  # real ones

    @property
    def row_N(self) -> Tensor:
        """Which row a completion token belongs to."""
        return self.source_N // self.ids_BT.shape[1]

    @classmethod
    def of(cls, pairs: Sequence[tuple[Ids, Ids]], device: torch.device) -> "Sequences":
        longest = max((len(prompt) + len(completion) for prompt, completion in pairs), default=1)
        ids = np.zeros((len(pairs), longest), dtype=np.int64)
        counted = np.zeros((len(pairs), longest), dtype=bool)
        for row, (prompt, completion) in enumerate(pairs):
            end = len(prompt) + len(completion)
            ids[row, : len(prompt)] = prompt
            ids[row, len(prompt) : end] = completion
            counted[row, len(prompt) - 1 : end - 1] = True
        source = np.flatnonzero(counted)
        return cls(
            ids_BT=torch.from_numpy(ids).to(device),
            length_B=torch.tensor(
                [len(prompt) + len(completion) for prompt, completion in pairs], dtype=torch.int64, device=device
            ),
            source_N=torch.from_numpy(source).to(device),
            target_N=torch.from_numpy(ids.reshape(-1)[source + 1]).to(device),
            tokens=sum(len(prompt) + len(completion) for prompt, completion in pairs),
        )


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[Any]:
    """bfloat16 arithmetic over float32 weights, or nothing for float32."""
    if precision is torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=precision)


@dataclass(frozen=True)
class Forward:
    """What a model says of `sequences`."""

    sequences: Sequences
    lp_N: Tensor  # log π(token | all before it) of every completion token, row after row, in float32
    router_loss: Tensor | None  # of a mixture of experts, over real tokens, where it was asked for

    @property
    def lp_B(self) -> Tensor:
        """lp(y|x) = Σ_t log π(y_t | x, y_<t)."""
        return by_row(self.lp_N, self.sequences)


def forward(
    model: Any, sequences: Sequences, precision: torch.dtype = torch.float32, *, router_loss: bool = False
) -> Forward:
    """Read `sequences`, with gradient unless the caller turned it off.

    The head sees completion positions only: a hook on the output embeddings picks them out of the hidden states, so
    whatever the model does to its logits afterwards (soft-capping, scaling) still happens, by its own code. A model
    whose head is not called as a module is read off its full logits.
    """
    if len(sequences.ids_BT) == 0:  # a rank without a share of the micro-batch
        nothing = torch.zeros(0, device=sequences.ids_BT.device, requires_grad=torch.is_grad_enabled())
        return Forward(sequences, nothing, None)
    picked = False

    def pick(_head: Any, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        nonlocal picked
        hidden_BTH = arguments[0]
        if hidden_BTH.shape[:2] != sequences.ids_BT.shape:
            return None
        picked = True
        return (hidden_BTH.flatten(0, 1)[sequences.source_N].unsqueeze(0), *arguments[1:])

    asked: dict[str, Any] = {}
    if router_loss:
        # Its mean is over tokens, so here the padding has to be known.
        positions_T = torch.arange(sequences.ids_BT.shape[1], device=sequences.ids_BT.device)
        asked = {"output_router_logits": True, "attention_mask": (positions_T < sequences.length_B[:, None]).long()}
    hook = model.get_output_embeddings().register_forward_pre_hook(pick)
    try:
        with autocast(sequences.ids_BT.device, precision):
            output = model(input_ids=sequences.ids_BT, use_cache=False, **asked)
    finally:
        hook.remove()
    logits_NV = output.logits[0] if picked else output.logits.flatten(0, 1)[sequences.source_N]
    lp_N = -F.cross_entropy(logits_NV.float(), sequences.target_N, reduction="none")
    return Forward(sequences, lp_N, output.aux_loss if router_loss else None)


def by_row(value_N: Tensor, sequences: Sequences) -> Tensor:
    """Sums over each row's completion tokens, [B]."""
    rows, longest = sequences.ids_BT.shape
    flat = torch.zeros(rows * longest, dtype=value_N.dtype, device=value_N.device)
    return flat.index_copy(0, sequences.source_N, value_N).view(rows, longest).sum(1)
