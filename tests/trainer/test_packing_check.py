"""The start of a run compares packed rows with single rows in float32, in any precision of the run: a small fault of
packing is detected, and rows are padded.
"""

import copy
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model
from torch import nn

from tests.families import toys
from tests.trainer import tiny
from worker.training.data.packing import Packed, Pair
from worker.training.data.rows import Row
from worker.training.forward import attention
from worker.training.forward.float32_weights import weights_in_float32
from worker.training.forward.logprobs import Reading
from worker.training.forward.packed_or_padded import reading_of, tried
from worker.training.forward.unpackable import reason_to_pad
from worker.training.machine.process import TrainingRefusal
from worker.training.models import lora

KINDS = [("float32", "full"), ("float32", "lora"), ("bfloat16", "full"), ("bfloat16", "lora")]


def policy(family: str = "llama", precision: str = "float32", method: str = "lora", *, trained: bool = True) -> Any:
    """A policy as the trainer loads it: frozen weights in the run's precision, trained ones in float32. `trained`: with
    weights that attend clearly, as those of a trained model do, rather than fresh ones, which hardly attend.
    """
    model = tiny.model(family)
    if not trained:
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim >= 2:
                    weight.div_(5)
    if method == "full":
        return model
    torch.manual_seed(1)
    targets = ["q_proj", "v_proj"] if family == "mixtral" else "all-linear"
    config = LoraConfig(r=4, target_modules=targets, task_type="CAUSAL_LM")
    with lora.peft_quiet():
        return get_peft_model(model.to(getattr(torch, precision)), config).eval()


def rows(count: int = 6, seed: int = 0) -> list[Row]:
    choose = np.random.default_rng(seed)

    def ids(low: int, high: int) -> Any:
        return choose.integers(0, 250, choose.integers(low, high)).astype(np.int32)

    return [Row(ids(2, 30), ids(2, 20), True, 1.0, f"c{number}", b"") for number in range(count)]


def chosen(model: Any, precision: str = "float32", read: Sequence[Row] | None = None) -> Reading:
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    return reading_of(model, tried(read or rows(), 64), getattr(torch, precision), trained)


def attend_by(monkeypatch: pytest.MonkeyPatch, change: Callable[..., Any]) -> None:
    """Replaces packed attention by `change(attention, module, query, key, value, **named)`."""
    right = attention.packed_attention

    def wrong(module: Any, query: Any, key: Any, value: Any, mask: Any, **named: Any) -> Any:
        return change(right, module, query, key, value, mask, **named)

    monkeypatch.setitem(attention.transformers.AttentionInterface._global_mapping, attention.PACKED, wrong)


def leak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the first token of the second row see the last token of the first row, and changes nothing else."""

    def change(right: Any, module: Any, query: Any, key: Any, value: Any, mask: Any, **named: Any) -> Any:
        attended, _ = right(module, query, key, value, mask, **named)
        layout = attention.current_layout()
        assert layout is not None
        if layout.recalls is None and len(layout.segments) > 1:
            start = layout.segments[1].start
            k, v = (x[:, :, start - 1 : start + 1] for x in (key, value))
            leaked = torch.nn.functional.scaled_dot_product_attention(
                query[:, :, start : start + 1], k, v, scale=named.get("scaling"), enable_gqa=True
            )
            attended = torch.cat((attended[:, :start], leaked.transpose(1, 2), attended[:, start + 1 :]), 1)
        return attended, None

    attend_by(monkeypatch, change)


def scale(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(right: Any, module: Any, query: Any, key: Any, value: Any, mask: Any, **named: Any) -> Any:
        return right(module, query, key, value, mask, **{**named, "scaling": 1.02 * named["scaling"]})

    attend_by(monkeypatch, change)


def positions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets positions run on from row to row. Rotary ones are relative, so that only mismatched pairs show the fault."""
    original = Packed.of

    def running_on(pairs: Sequence[Pair], device: torch.device, *, at_once: bool = False) -> Packed:
        packed = original(pairs, device, at_once=at_once)
        packed.positions_T.copy_(torch.arange(packed.tokens))
        return packed

    monkeypatch.setattr(Packed, "of", running_on)


@cache
def is_packed(family: str, precision: str, method: str, *, trained: bool) -> bool:
    return chosen(policy(family, precision, method, trained=trained), precision).packed


@pytest.mark.parametrize(
    ("fault", "family", "trained"),
    [
        (leak, "llama", True), (leak, "llama", False), (scale, "llama", True), (scale, "llama", False),
        (positions, "llama", True), (positions, "gpt2", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("precision", "method"), KINDS)
def test_a_small_fault_of_packing_is_noticed_in_every_precision(
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
    method: str,
    fault: Callable[..., None],
    family: str,
    *,
    trained: bool,
) -> None:
    assert is_packed(family, precision, method, trained=trained)

    fault(monkeypatch)
    reading = chosen(policy(family, precision, method, trained=trained), precision)

    assert not reading.packed
    assert reading.padded_because is not None
    assert "differ from single rows" in reading.padded_because


@pytest.mark.parametrize(("precision", "method"), KINDS)
@pytest.mark.parametrize("family", ["qwen2", "gemma2", "mixtral"])
def test_right_packing_is_packed_in_every_precision(family: str, precision: str, method: str) -> None:
    reading = chosen(policy(family, precision, method), precision)

    assert reading.packed
    assert reading.chunked
    assert reading.padded_because is None


@pytest.mark.parametrize(("precision", "method"), KINDS)
def test_the_check_changes_no_weight_no_gradient_and_no_random_number(precision: str, method: str) -> None:
    model = policy("mixtral", precision, method)
    before = copy.deepcopy(model.state_dict())
    storages = {name: tensor.data_ptr() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()

    chosen(model, precision)

    after = model.state_dict()
    assert {name: tensor.data_ptr() for name, tensor in after.items()} == storages
    assert all(
        after[name].dtype == tensor.dtype and torch.equal(after[name], tensor) for name, tensor in before.items()
    )
    assert all(weight.grad is None for weight in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_only_one_layer_at_a_time_has_float32_weights() -> None:
    model = policy(precision="bfloat16", method="lora")
    layers = model.get_base_model().model.layers
    seen: list[tuple[int, ...]] = []

    def widths(*_: Any) -> None:
        seen.append(tuple(layer.mlp.down_proj.base_layer.weight.element_size() for layer in layers))

    for layer in layers:
        layer.mlp.register_forward_pre_hook(widths)
    pair = (rows()[0].prompt, rows()[0].completion)
    with weights_in_float32(model):
        assert model.get_output_embeddings().weight.dtype is torch.float32
        read, _ = Reading(model, packed=False, chunked=True, recompute=True).read([pair])
        read.lp_B.sum().backward()

    assert seen == [(4, 2), (2, 4), (2, 4), (4, 2)], "two layers forward, then backward"
    assert model.get_output_embeddings().weight.dtype is torch.bfloat16


def test_weights_read_in_float32_say_what_a_float32_copy_says() -> None:
    model = policy(precision="bfloat16", method="lora")
    copied = copy.deepcopy(model).float()
    own = [(row.prompt, row.completion) for row in rows()]

    with weights_in_float32(model):
        read, _ = Reading(model, packed=True, chunked=True, recompute=True).read(own)
        read.lp_B.sum().backward()
    expected, _ = Reading(copied, packed=True, chunked=True).read(own)
    expected.lp_B.sum().backward()

    assert torch.equal(read.lp_B, expected.lp_B)
    for weight, other in zip(model.parameters(), copied.parameters(), strict=True):
        if weight.requires_grad:
            assert torch.equal(weight.grad, other.grad)


def test_the_rows_that_are_compared_hold_the_longest_mismatched_pair_of_any_plan() -> None:
    def row(prompt: int, completion: int) -> Row:
        return Row(np.ones(prompt, np.int32), np.ones(completion, np.int32), True, 1.0, "c", b"")

    read = [row(9, 3), row(40, 30), row(35, 4), row(2, 29), row(3, 2)]

    [(own, others)] = tried(read, 100)

    assert max(len(prompt) + len(completion) for prompt, completion in others) == 40 + 29
    assert {len(prompt) + len(completion) for prompt, completion in own} >= {70, 5}, "the longest and the shortest row"
    assert all(np.array_equal(mine, prompt) for (mine, _), (prompt, _) in zip(own, others, strict=True))


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("mamba", "state"), ("lfm2", "convolutions"), ("qwen3_next", "linear attention"), ("bloom", "ALiBi"),
        ("gpt_oss", "sinks"),
    ],
)  # fmt: skip
def test_families_that_mix_tokens_otherwise_are_padded_by_name(family: str, reason: str) -> None:
    assert reason in (reason_to_pad(toys.model_of(family)) or "")


def test_a_model_of_an_unknown_type_is_known_by_its_convolutions_and_its_layers_own_attention() -> None:
    model = tiny.model()
    model.model.layers[0].mixing = nn.Conv1d(16, 16, 2)
    assert "convolutions" in (chosen(model).padded_because or "")

    assert "2 of its 2 layers mix tokens by code of their own" in (chosen(toys.model_of("gptj")).padded_because or "")


def test_a_model_that_sees_tokens_ahead_is_refused() -> None:
    config = transformers.BertConfig(
        vocab_size=260, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4
    )
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(5)

    with pytest.raises(TrainingRefusal, match=r"sees tokens ahead.*is_decoder"):
        chosen(model)
