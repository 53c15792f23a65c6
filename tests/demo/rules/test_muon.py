"""The optimizer of the demo's base model, against torch's, which computes in bfloat16."""

import torch

from worker.demo.muon import Muon, orthogonalised


def test_steps_are_those_of_torch_except_for_its_rounding():
    torch.manual_seed(0)
    start, gradients = torch.randn(48, 16), torch.randn(5, 48, 16)
    own, other = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    optimizers = [Muon([own], lr=0.02), torch.optim.Muon([other], lr=0.02, weight_decay=0.0)]

    for gradient in gradients:
        own.grad, other.grad = gradient.clone(), gradient.clone()
        for optimizer in optimizers:
            optimizer.step()

    moved = (own - start).abs().max().item()
    assert (own - other).abs().max().item() < 0.02 * moved


def test_an_orthogonalised_matrix_has_singular_values_near_one():
    torch.manual_seed(0)
    for shape in ((48, 16), (16, 48), (16, 16)):
        values = torch.linalg.svdvals(orthogonalised(torch.randn(shape)))
        assert 0.5 < values.min().item() <= values.max().item() < 1.3
