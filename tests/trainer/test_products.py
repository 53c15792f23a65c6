"""A CPU without instructions for bfloat16 multiplies in float32, with the same results."""

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from tests.trainer import tiny
from tests.trainer.test_packing import gradient, rows
from worker.training.forward import head, logprobs
from worker.training.forward.cpu_bfloat16 import multiplied_as_float32
from worker.training.forward.logprobs import Reading

#: Relative distance of two neighbours in bfloat16.
STEP = 2**-7


def gradients(layer: nn.Module, inputs: torch.Tensor, *, in_float32: bool) -> tuple[torch.Tensor, ...]:
    inputs = inputs.clone().requires_grad_()
    layer.zero_grad()
    with multiplied_as_float32([layer] if in_float32 else []), torch.autocast("cpu", torch.bfloat16):
        outputs = layer(inputs)
    assert outputs.dtype is torch.bfloat16
    outputs.float().square().sum().backward()
    assert inputs.grad is not None
    return (outputs.detach().float(), inputs.grad.float(), *(weight.grad for weight in layer.parameters()))


@pytest.mark.parametrize(
    "layer", [nn.Linear(48, 40), nn.Linear(48, 40, bias=False), Conv1D(40, 48)], ids=["linear", "no bias", "conv1d"]
)
def test_a_product_in_float32_units_is_the_product_in_bfloat16_but_for_its_last_rounding(layer: nn.Module) -> None:
    inputs = torch.randn(1, 30, 48, generator=torch.Generator().manual_seed(1))

    expected = gradients(layer, inputs, in_float32=False)
    results = gradients(layer, inputs, in_float32=True)

    for ours, torchs in zip(results, expected, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=STEP, atol=STEP * float(torchs.abs().max()))


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_a_model_read_so_says_the_same_within_bfloat16(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model(family)
    own, others = rows()
    results = []
    for lacking in (False, True):
        for module in (logprobs, head):
            monkeypatch.setattr(module, "lacks_bfloat16", lambda _device, lacking=lacking: lacking)
        read, other = Reading(model, torch.bfloat16, packed=True, chunked=True).read(own, others)
        assert other is not None
        model.zero_grad()
        read.lp_B.sum().backward()
        results.append((torch.cat([read.lp_B.detach(), other.lp_B]), gradient(model)))

    (lp, slope), (lp_float32, slope_float32) = results
    torch.testing.assert_close(lp_float32, lp, rtol=1e-2, atol=0.05)
    assert float((slope_float32 - slope).norm() / slope.norm()) < 0.05


def test_activations_computed_twice_are_multiplied_so_both_times(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (logprobs, head):
        monkeypatch.setattr(module, "lacks_bfloat16", lambda _device: True)
    model = tiny.model()
    own, others = rows()
    kept = Reading(model, torch.bfloat16, packed=True, chunked=True)
    found = []
    for reading in (kept, kept.recomputing()):
        read, other = reading.read(own, others)
        assert other is not None
        model.zero_grad()
        read.lp_B.sum().backward()
        found.append((read.lp_B.detach(), other.lp_B, gradient(model)))

    for once, twice in zip(*found, strict=True):
        assert torch.equal(once, twice)


def test_the_layers_are_as_before_afterwards() -> None:
    layer = nn.Linear(3, 2)
    with multiplied_as_float32([layer]):
        pass

    assert layer(torch.ones(1, 3)).dtype is torch.float32
