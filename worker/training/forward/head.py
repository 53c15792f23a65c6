"""Computes the log-probs of given tokens from hidden states, without ever holding the matrix of all logits.

    lp_n = l_n[y_n] − log Σ_v e^{l_n[v]}     l_n = W h_n + b, soft-capped if the model does so: l ← c·tanh(l / c)

They are computed in chunks, in float32 whatever the types of W and h. With a frozen head the gradient with respect to
h_n is a fixed vector times one factor per token from above, so it is computed in the forward pass and nothing is
computed twice. With a trained head and a small vocabulary the logits at completions are kept for the backward pass;
with a large one they are computed again there, in chunks of the vocabulary.

Legend: N tokens, H hidden size, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from worker.training.forward.cpu_bfloat16 import lacks_bfloat16

#: Bytes of one chunk of logits in float32: small enough for a CPU's caches, large enough to keep a GPU busy.
CHUNK_BYTES = {"cpu": 16 << 20, "cuda": 256 << 20}
#: Largest vocabulary whose logits are kept for the backward pass of a trained head rather than computed twice: 64 KiB
#: a token, about as much as one or two layers of a model with such a vocabulary keep.
KEPT_VOCABULARY = 16_384


@dataclass(frozen=True)
class Head:
    """A model's output embeddings."""

    weight_VH: Tensor
    bias_V: Tensor | None
    cap: float | None

    @classmethod
    def of(cls, model: Any) -> "Head | None":
        """Returns the head of `model`, or None if it is not a plain linear layer, as with an adapter of its own."""
        linear = model.get_output_embeddings()
        if type(linear) is not nn.Linear:
            return None
        return cls(linear.weight, linear.bias, getattr(model.config, "final_logit_softcapping", None))

    def log_probs(self, hidden_NH: Tensor, target_N: Tensor, precision: torch.dtype) -> Tensor:
        """Returns lp_N in float32."""
        hidden_NH, weight_VH = hidden_NH.to(precision), self.weight_VH.to(precision)
        if precision is torch.bfloat16 and lacks_bfloat16(hidden_NH.device):
            hidden_NH, weight_VH = hidden_NH.float(), weight_VH.float()
        keeps = torch.is_grad_enabled() and not self.cap and len(weight_VH) <= KEPT_VOCABULARY
        return _TargetLogProbs.apply(hidden_NH, weight_VH, self.bias_V, target_N, self.cap, keeps)


class _TargetLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        target_N: Tensor,
        cap: float | None,
        keeps: bool,
    ) -> Tensor:
        trained = ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
        at_once = ctx.needs_input_grad[0] and not trained
        chunk = _rows_of(len(weight_VH), hidden_NH.device.type)
        lp_N = torch.empty(len(hidden_NH), dtype=torch.float32, device=hidden_NH.device)
        most_N, sum_N = torch.empty_like(lp_N), torch.empty_like(lp_N)
        unit_NH = torch.empty_like(hidden_NH) if at_once else None
        kept_CV: list[Tensor] = []
        for start in range(0, len(hidden_NH), chunk):
            part = slice(start, start + chunk)
            logits_CV = _logits(hidden_NH[part], weight_VH, bias_V)
            slope_CV = _cap_(logits_CV, cap) if cap else None
            # The largest logit and the sum of the shifted exponentials stay apart: together they would be rounded to
            # the precision of the logits, and so would each probability.
            most_N[part] = logits_CV.amax(1)
            target_C = logits_CV.gather(1, target_N[part, None]).squeeze(1) - most_N[part]
            likely_CV = logits_CV.sub_(most_N[part, None]).exp_()
            sum_N[part] = likely_CV.sum(1)
            lp_N[part] = target_C - sum_N[part].log()
            if unit_NH is not None:
                by_logit_CV = _by_logit_(likely_CV, sum_N[part], target_N[part], None, slope_CV)
                unit_NH[part] = by_logit_CV.to(weight_VH.dtype) @ weight_VH
            if trained and keeps:
                kept_CV.append(likely_CV)
        ctx.cap = cap
        if at_once:
            ctx.save_for_backward(unit_NH)
        elif trained:
            ctx.save_for_backward(hidden_NH, weight_VH, bias_V, target_N, most_N, sum_N, *kept_CV)
        return lp_N

    @staticmethod
    def backward(ctx: Any, above_N: Tensor) -> tuple[Tensor | None, ...]:
        if len(ctx.saved_tensors) == 1:
            (unit_NH,) = ctx.saved_tensors
            return (above_N[:, None] * unit_NH).to(unit_NH.dtype), None, None, None, None, None
        hidden_NH, weight_VH, bias_V, target_N, most_N, sum_N, *kept_CV = ctx.saved_tensors
        if kept_CV:
            return (*_of_kept(hidden_NH, weight_VH, bias_V, target_N, sum_N, kept_CV, above_N), None, None, None)
        by_hidden_NH = torch.zeros(hidden_NH.shape, dtype=torch.float32, device=hidden_NH.device)
        by_weight_VH = torch.empty_like(weight_VH)
        by_bias_V = None if bias_V is None else torch.empty_like(bias_V)
        # In chunks of the vocabulary: each row of W gets its whole gradient in one step.
        chunk = _rows_of(len(hidden_NH), hidden_NH.device.type)
        for start in range(0, len(weight_VH), chunk):
            part = slice(start, start + chunk)
            words_CH = weight_VH[part]
            logits_NC = _logits(hidden_NH, words_CH, None if bias_V is None else bias_V[part])
            slope_NC = _cap_(logits_NC, ctx.cap) if ctx.cap else None
            here_N = (target_N >= start) & (target_N < start + len(words_CH))
            likely_NC = logits_NC.sub_(most_N[:, None]).exp_()
            place_N = (target_N - start).clamp(0, len(words_CH) - 1)
            by_logit_NC = _by_logit_(likely_NC, sum_N, place_N, here_N, slope_NC)
            by_logit_NC.mul_(above_N[:, None])
            if by_bias_V is not None:
                by_bias_V[part] = by_logit_NC.sum(0)
            by_logit_NC = by_logit_NC.to(weight_VH.dtype)
            by_hidden_NH += by_logit_NC @ words_CH
            by_weight_VH[part] = by_logit_NC.t() @ hidden_NH
        return by_hidden_NH.to(hidden_NH.dtype), by_weight_VH, by_bias_V, None, None, None


def _of_kept(
    hidden_NH: Tensor,
    weight_VH: Tensor,
    bias_V: Tensor | None,
    target_N: Tensor,
    sum_N: Tensor,
    kept_CV: Sequence[Tensor],
    above_N: Tensor,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Returns the gradients of h, W and b from the stored e^(logit − largest), chunk after chunk."""
    by_hidden_NH, by_weight_VH = torch.empty_like(hidden_NH), torch.zeros_like(weight_VH)
    by_bias_V = None if bias_V is None else torch.zeros_like(bias_V)
    start = 0
    for likely_CV in kept_CV:
        part = slice(start, start := start + len(likely_CV))
        by_logit_CV = likely_CV * (-above_N[part] / sum_N[part])[:, None]
        by_logit_CV[torch.arange(len(by_logit_CV), device=above_N.device), target_N[part]] += above_N[part]
        if by_bias_V is not None:
            by_bias_V += by_logit_CV.sum(0)
        by_logit_CV = by_logit_CV.to(weight_VH.dtype)
        by_hidden_NH[part] = by_logit_CV @ weight_VH
        by_weight_VH.addmm_(by_logit_CV.t(), hidden_NH[part])
    return by_hidden_NH, by_weight_VH, by_bias_V


def _rows_of(columns: int, device: str) -> int:
    """Returns the number of rows in a chunk of logits with `columns` columns."""
    return max(16, CHUNK_BYTES[device] // (4 * max(1, columns)))


def _logits(hidden_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None) -> Tensor:
    logits_NV = (hidden_NH @ weight_VH.t()).float()
    return logits_NV if bias_V is None else logits_NV.add_(bias_V)


def _cap_(logits_NV: Tensor, cap: float) -> Tensor:
    """Soft-caps `logits_NV` in place; returns the slope of the cap, 1 − tanh²."""
    bent_NV = logits_NV.div_(cap).tanh_()
    slope_NV = 1 - bent_NV.square()
    logits_NV.mul_(cap)
    return slope_NV


def _by_logit_(
    likely_NV: Tensor, sum_N: Tensor, target_N: Tensor, here_N: Tensor | None, slope_NV: Tensor | None
) -> Tensor:
    """Returns ∂lp/∂logit = 1[v = y] − softmax, computed in place.

    `likely_NV` holds e^(logit − largest), with the sums `sum_N`; `here_N` is true if the target is among the columns.
    """
    by_logit_NV = likely_NV.div_(-sum_N[:, None])
    hit_N = torch.ones_like(sum_N) if here_N is None else here_N.to(sum_N.dtype)
    by_logit_NV[torch.arange(len(target_N), device=target_N.device), target_N] += hit_N
    return by_logit_NV if slope_NV is None else by_logit_NV.mul_(slope_NV)
