"""Layers computed twice or in parts give the same log-probs and gradients as layers computed once as a whole."""

import pytest
import torch

from tests.trainer import tiny
from tests.trainer.test_packing import FAMILIES, gradient, rows
from worker.training.forward import logprobs
from worker.training.forward.layers import decoder_layers, last_feed_forward_at
from worker.training.forward.logprobs import Reading
from worker.training.forward.packed_or_padded import is_compiled


@pytest.mark.parametrize("family", FAMILIES)
def test_activations_computed_twice_change_no_bit(family: str) -> None:
    model = tiny.model(family)
    own, others = rows()
    kept = Reading(model, packed=True, chunked=True)
    router_loss = family == "mixtral"
    results = []
    for reading in (kept, kept.recomputing()):
        read, other = reading.read(own, others, router_loss=router_loss)
        assert other is not None
        model.zero_grad()
        (read.lp_B.sum() if read.router_loss is None else read.lp_B.sum() + read.router_loss).backward()
        results.append((read.lp_B.detach(), other.lp_B, gradient(model)))

    for once, twice in zip(*results, strict=True):
        assert torch.equal(once, twice)


def test_activations_are_not_kept_where_they_are_computed_twice() -> None:
    model = tiny.model()
    own, _ = rows()
    kept = Reading(model, packed=True, chunked=True)
    sizes = []
    for reading in (kept, kept.recomputing()):
        held: list[int] = []

        def count(tensor: torch.Tensor, held: list[int] = held) -> torch.Tensor:
            held.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            reading.read(own)
        sizes.append(sum(held))

    assert sizes[1] < sizes[0] / 3


def test_the_last_feed_forward_part_sees_only_the_tokens_that_count() -> None:
    model = tiny.model()
    own, _ = rows()
    seen: dict[str, int] = {}
    for name, layer in zip(("first", "last"), decoder_layers(model), strict=True):
        layer.mlp.down_proj.register_forward_hook(
            lambda _part, given, _found, name=name: seen.update({name: given[0].shape[1]})
        )

    Reading(model, packed=True, chunked=True).read(own)

    assert seen == {
        "first": sum(len(prompt) + len(completion) for prompt, completion in own),
        "last": sum(len(completion) for _, completion in own),
    }


def test_a_model_whose_feed_forward_part_has_another_name_is_left_as_it_is() -> None:
    model = tiny.model()
    last = decoder_layers(model)[-1]
    last.other, before = last.mlp, last.mlp.forward
    del last.mlp

    with last_feed_forward_at([last], torch.tensor([1])):
        assert last.other.forward == before


@pytest.mark.filterwarnings("ignore")  # pytest undoes the way in which torch's compiler silences its warnings
@pytest.mark.trial
def test_compiled_layers_say_and_learn_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logprobs, "COMPILER", "aot_eager")  # all of it but the machine code, which takes a minute
    model = tiny.model()
    own, others = rows()
    reading = Reading(model, packed=True, chunked=True)
    results = []
    for compiled in (False, True):
        assert not compiled or is_compiled(reading, [rows(seed=3)])
        read, other = reading.read(own, others)
        assert other is not None
        model.zero_grad()
        read.lp_B.sum().backward()
        results.append((read.lp_B.detach(), other.lp_B, gradient(model)))
    reading.uncompile()

    for plain, compiled_too in zip(*results, strict=True):
        torch.testing.assert_close(compiled_too, plain, rtol=1e-5, atol=1e-4)


@pytest.mark.trial
def test_a_compiler_that_fails_leaves_the_model_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_arguments: object) -> None:
        raise OSError("no compiler here")

    monkeypatch.setattr(logprobs, "COMPILER", failing)
    model = tiny.model()
    own, _ = rows()
    reading = Reading(model, packed=True, chunked=True)
    before = reading.read(own)[0].lp_B

    assert not is_compiled(reading, [rows()])

    assert torch.equal(reading.read(own)[0].lp_B, before)


def test_layers_that_are_computed_twice_are_not_compiled() -> None:
    reading = Reading(tiny.model(), packed=True, chunked=True).recomputing()

    assert not is_compiled(reading, [rows()])
