"""The auxiliary loss that keeps the experts of a mixture evenly used (arXiv 2101.03961, equations 4 to 6).

    loss = E · Σ_e f_e P_e      f_e = Σ_layers Σ_t [expert e is chosen for t] / N      P_e = Σ_layers Σ_t p_te / N

over the N routed tokens of all layers of a micro-batch, without padding. It is a product of two means, so it differs
from the mean of the ranks' own losses. f has no gradient: after the sum of the choices of all ranks, each rank has its
exact share of loss and gradient,

    share of a rank = E · Σ_e f_e · (Σ_t p_te of its own tokens) / N

and the shares add up to the loss for any division of the rows. Like z0, it is computed over a micro-batch; an optimizer
step uses the mean over its micro-batches, weighted by their rows.

Legend: E experts, T tokens of one forward, K experts chosen for a token.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from worker.training.machine.process import TrainingRefusal
from worker.training.machine.ranks import Ranks

#: Smallest number of experts of a mixture: some families call a dense model a mixture of none or one.
MIXTURE = 2
#: Names of the loss's weight in model families, in the model and mostly in its config.
COEFFICIENTS = ("router_aux_loss_coef", "aux_loss_coef")


class Choices(NamedTuple):
    """The number of times each expert is chosen, and the number of routed tokens; without gradient, in float64."""

    chosen_E: Tensor
    tokens: Tensor

    def over(self, ranks: Ranks) -> "Choices":
        """Returns the sum over all ranks, which must call it together."""
        together = ranks.sum(torch.cat([self.chosen_E, self.tokens[None]]))
        return Choices(together[:-1], together[-1])


class RouterSums(NamedTuple):
    """The decisions of the routers in one forward, summed over layers and real tokens."""

    choices: Choices
    probability_E: Tensor  # with gradient, in float32

    def share(self, choices: Choices) -> Tensor:
        """Returns this forward's share of the loss of a micro-batch with `choices`."""
        tokens = choices.tokens.clamp(min=1)
        frequency_E = (choices.chosen_E / tokens).float()
        return len(frequency_E) * (frequency_E * self.probability_E).sum() / tokens.float()


class Routing(NamedTuple):
    """The experts of a model whose code computes this loss."""

    experts: int
    per_token: int

    @classmethod
    def of(cls, model: Any) -> "Routing | None":
        """Returns the experts of `model`, or None if its code computes no such loss. Raises `TrainingRefusal`."""
        base = _without_adapter(model)
        config: Any = getattr(base, "config", None)
        if getattr(config, "model_type", None) == "doge":
            if config.is_moe:
                raise TrainingRefusal(
                    "router_mixes_tokens",
                    "base_model: the routers of a Doge mixture of experts choose by several tokens at once, later ones "
                    "too, so it gives no log-prob of a completion: use a Doge model without experts, or another model",
                )
            return None
        experts = getattr(base, "num_experts", 0)
        if experts < MIXTURE or not any(hasattr(base, name) for name in COEFFICIENTS):
            return None
        return cls(int(experts), int(base.num_experts_per_tok))

    def sums(self, logits: Sequence[Tensor] | None, real_T: Tensor | None, device: torch.device) -> RouterSums:
        """Returns the sums of one forward.

        logits   of each layer's router, one row for each token; None or empty if no layer has a router or no row was
                 read
        real_T   true for the tokens that count; None if all do
        """
        chosen_E = torch.zeros(self.experts, dtype=torch.float64, device=device)
        tokens = torch.zeros((), dtype=torch.float64, device=device)
        probability_E = torch.zeros(self.experts, device=device)
        for layer in logits or ():
            probability_TE = layer.to(device).reshape(-1, self.experts).float().softmax(-1)
            chosen_TK = probability_TE.detach().topk(self.per_token, -1).indices
            chosen_TE = torch.zeros_like(probability_TE).scatter_(1, chosen_TK, 1.0)
            weight_T = torch.ones_like(chosen_TE[:, 0]) if real_T is None else real_T.to(chosen_TE)
            chosen_E += weight_T.double() @ chosen_TE.double()
            tokens += weight_T.double().sum()
            probability_E = probability_E + weight_T @ probability_TE
        return RouterSums(Choices(chosen_E, tokens), probability_E)


def coefficient_of(model: Any) -> float:
    """Returns the weight of the loss relative to the objective's; 0 if `model` has none. Raises `TrainingRefusal`."""
    if Routing.of(model) is None:
        return 0.0
    base = _without_adapter(model)
    name = next(name for name in COEFFICIENTS if hasattr(base, name))
    return float(getattr(base.config, name, getattr(base, name)) or 0.0)


def _without_adapter(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model
