"""Fifty steps of the whole trainer follow TRL's within 1e-5."""

import pytest

from tests.parity import curves
from tests.parity.compare import Table

WITHIN = 1e-5


def worst_loss(found: Table) -> float:
    return max(compared.relative for name, compared in found.items() if name.startswith("loss"))


@pytest.mark.parametrize("objective", ["kto", "apo_zero_unpaired"])
def test_the_loss_of_fifty_steps_of_full_fine_tuning_equals_trls(objective: str) -> None:
    found = curves.compared(objective)

    assert worst_loss(found) <= WITHIN
    assert found["loss, step 50"].ours < 0.8 * found["loss, first step"].ours, (
        "fifty steps in which something is learnt"
    )


def test_the_loss_of_fifty_steps_of_lora_against_a_shipped_adapter_equals_trls() -> None:
    found = curves.compared(lora=True, learning_rate=5e-3)

    assert worst_loss(found) <= WITHIN
    assert found["loss, step 50"].ours < 0.8 * found["loss, first step"].ours, (
        "fifty steps in which something is learnt"
    )
