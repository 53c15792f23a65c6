"""KTO on every kind of decoder that the trainer supports."""

import pytest
import torch

from tests.parity import families, ours
from tests.parity.compare import worst


@pytest.mark.parametrize("family", families.FAMILIES)
def test_loss_z0_rewards_and_gradients_equal_the_formula_in_float64(family: str) -> None:
    """Allows 5e-6: float32 keeps seven digits of a log-prob, and a gradient sums hundreds of products of them."""
    assert worst(families.beside_the_formula(family)) <= 5e-6


@pytest.mark.parametrize("family", families.FAMILIES)
def test_loss_z0_rewards_and_gradients_equal_trls(family: str) -> None:
    assert worst(families.beside_trl(family)) <= 1e-6


def test_the_routers_loss_is_a_share_of_the_loss_with_which_experts_are_trained() -> None:
    one = families.given("mixtral")
    alone = ours.figures(one.policy, one.reference, one.rows, one.recipe)
    one.policy.config.router_aux_loss_coef = 0.0

    without = ours.figures(one.policy, one.reference, one.rows, one.recipe)

    assert alone.numbers["loss"] > without.numbers["loss"] + 0.5
    assert alone.numbers["z0"] == without.numbers["z0"]
    gate = "model.layers.0.mlp.gate.weight"
    assert not torch.allclose(alone.gradients[gate], without.gradients[gate], rtol=0.01)
