"""Rows in one sequence give the log-probs of single rows, also if a prompt with two completions is read once."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer import tiny
from worker.training.data.packing import Packed, Pair
from worker.training.forward import attention
from worker.training.forward.attention import Layout, PackedSegment
from worker.training.forward.logprobs import Reading
from worker.training.forward.packed_or_padded import reading_of

FAMILIES = ["llama", "qwen2", "qwen3", "gemma", "gemma2", "gpt2", "gpt_neox", "mixtral"]
CPU = torch.device("cpu")


def rows(count: int = 6, seed: int = 0) -> tuple[list[Pair], list[Pair]]:
    """Returns prompts with their own and with other completions; one prompt is cut for the length of the other one."""
    choose = np.random.default_rng(seed)

    def ids(low: int, high: int) -> np.ndarray:
        return choose.integers(0, 250, choose.integers(low, high)).astype(np.int32)

    own = [(ids(2, 30), ids(2, 20)) for _ in range(count)]
    others = [(prompt, own[(row + 1) % count][1]) for row, (prompt, _) in enumerate(own)]
    others[2] = (others[2][0][1:], others[2][1])
    return own, others


def alone(model: Any, pairs: Sequence[Pair]) -> torch.Tensor:
    """Returns lp of each row, read alone and summed from all its logits."""
    sums = []
    for prompt, completion in pairs:
        ids = torch.from_numpy(np.concatenate([prompt, completion])).long()[None]
        log_probs = torch.log_softmax(model(input_ids=ids).logits[0], -1)
        positions = range(len(prompt) - 1, ids.shape[1] - 1)
        sums.append(torch.stack([log_probs[position, ids[0, position + 1]] for position in positions]).sum())
    return torch.stack(sums)


def gradient(model: Any) -> torch.Tensor:
    return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_rows_and_prompts_read_once_say_what_each_row_says_alone(family: str) -> None:
    model = tiny.model(family)
    own, others = rows()
    expected, expected_others = alone(model, own), alone(model, others)
    expected.sum().backward()
    wanted = gradient(model)
    model.zero_grad()

    read, other = Reading(model, packed=True, chunked=True).read(own, others)
    read.lp_B.sum().backward()

    assert other is not None
    torch.testing.assert_close(read.lp_B, expected, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(other.lp_B, expected_others, rtol=1e-6, atol=1e-5)
    assert not other.lp_B.requires_grad
    assert float((gradient(model) - wanted).norm() / wanted.norm()) < 1e-6


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_read_packed(family: str) -> None:
    reading = reading_of(tiny.model(family), [rows(seed=1), rows(seed=2)], torch.float32)

    assert reading.packed
    assert reading.chunked


def test_the_mismatched_pass_computes_completion_tokens_alone() -> None:
    own, others = rows()
    read, other = Reading(tiny.model(), packed=True, chunked=True).read(own, others)

    assert other is not None
    assert read.tokens == read.room == sum(len(prompt) + len(completion) for prompt, completion in own)
    cut = len(others[2][0])  # this prompt is shortened, so it is read again
    assert other.tokens == sum(len(completion) for _, completion in others) + cut


def test_the_memory_of_the_prompts_carries_no_gradient() -> None:
    model = tiny.model()
    own, _ = rows()
    packed = Packed.of(own, CPU)
    packed.layout.remembers = True
    reading = Reading(model, packed=True, chunked=True)

    reading._packed(packed, None)

    assert len(packed.layout.memory) == model.config.num_hidden_layers
    assert not any(part.requires_grad for parts in packed.layout.memory.values() for part in parts)


def test_attention_that_leaks_across_rows_is_noticed_and_rows_are_padded(monkeypatch: pytest.MonkeyPatch) -> None:
    def leaking(module: Any, query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        end = query.shape[2]
        with attention.laid_out(Layout((PackedSegment(0, end),))):
            return attention.packed_attention(module, query, key, value, *args, **kwargs)

    monkeypatch.setitem(attention.transformers.AttentionInterface._global_mapping, attention.PACKED, leaking)

    reading = reading_of(tiny.model(), [rows()], torch.float32)

    assert not reading.packed


def test_positions_that_do_not_restart_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Packed.of

    def running_on(pairs: Sequence[Pair], device: torch.device) -> Packed:
        packed = original(pairs, device)
        return Packed(**{**vars(packed), "positions_T": torch.arange(packed.tokens)})

    monkeypatch.setattr(Packed, "of", running_on)

    assert not reading_of(tiny.model("gpt2"), [rows()], torch.float32).packed
    # Rotary positions are relative: a row that is moved as a whole is the same, only the stored prompts are misplaced.
    assert not reading_of(tiny.model("llama"), [rows()], torch.float32).packed


def test_a_head_that_does_more_than_a_linear_layer_is_left_to_the_model() -> None:
    model = tiny.model()
    inner = model.lm_head

    class Scaled(torch.nn.Linear):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return 0.5 * super().forward(hidden)

    scaled = Scaled(inner.in_features, inner.out_features, bias=False)
    scaled.weight = inner.weight
    model.lm_head = scaled
    own, others = rows()

    reading = reading_of(model, [(own, others)], torch.float32)

    assert (reading.packed, reading.chunked) == (True, False)
    read, _ = reading.read(own, others)
    torch.testing.assert_close(read.lp_B, alone(model, own), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("cap", [None, 3.0])
@pytest.mark.parametrize("bias", [True, False])
def test_the_chunked_head_gives_the_gradients_of_the_whole_one(
    monkeypatch: pytest.MonkeyPatch, *, trained: bool, kept: bool, cap: float | None, bias: bool
) -> None:
    from worker.training.forward import head

    monkeypatch.setattr(head, "CHUNK_BYTES", {"cpu": 4 * 50 * 16})
    monkeypatch.setattr(head, "KEPT_VOCABULARY", 50 if kept else 49)
    torch.manual_seed(0)
    weight = torch.randn(50, 8, dtype=torch.float64, requires_grad=trained)
    offset = torch.randn(50, dtype=torch.float64, requires_grad=trained) if bias else None
    hidden = torch.randn(37, 8, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 50, (37,))
    inputs = [hidden, *([weight, *([offset] if offset is not None else [])] if trained else [])]

    def plain() -> torch.Tensor:
        logits = hidden @ weight.t() + (0 if offset is None else offset)
        logits = logits if cap is None else cap * torch.tanh(logits / cap)
        return -torch.nn.functional.cross_entropy(logits, target, reduction="none")

    above = torch.randn(37, dtype=torch.float64)
    ours = head.Head(weight, offset, cap).log_probs(hidden, target, torch.float64)
    expected = plain()

    torch.testing.assert_close(ours.double(), expected, rtol=1e-6, atol=1e-6)
    ours_by = torch.autograd.grad((ours * above).sum(), inputs)
    expected_by = torch.autograd.grad((expected * above).sum(), inputs)
    for mine, theirs in zip(ours_by, expected_by, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def varlen_of_each(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float | None,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> torch.Tensor:
    """Computes attention as the GPU kernel does, segment by segment, [T, H, D]; the last query is at the last key."""
    outputs = []
    queries, keys = ([int(end) for end in ends] for ends in (cu_seq_q, cu_seq_k))
    for (q0, q1), (k0, k1) in zip(pairwise(queries), pairwise(keys), strict=True):
        assert q1 - q0 <= max_q
        assert k1 - k0 <= max_k
        positions = torch.arange(k1 - k0)
        distance = positions[None, :] - (positions[k1 - k0 - (q1 - q0) :])[:, None]
        visible = distance <= window_size[1]
        if window_size[0] >= 0:
            visible &= distance >= -window_size[0]
        q, k, v = (x[a:b].transpose(0, 1)[None] for x, a, b in ((query, q0, q1), (key, k0, k1), (value, k0, k1)))
        attended = torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=visible, scale=scale, enable_gqa=enable_gqa
        )
        outputs.append(attended[0].transpose(0, 1))
    return torch.cat(outputs)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "gemma2"])
def test_segments_taken_at_once_by_a_gpus_kernel_say_what_they_say_one_by_one(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "varlen_attn", varlen_of_each)
    model = tiny.model(family)
    own, others = rows()

    found = []
    for at_once in (False, True):
        read, other = Reading(model, packed=True, chunked=True, at_once=at_once).read(own, others)
        assert other is not None
        model.zero_grad()
        read.lp_B.sum().backward()
        found.append((read.lp_B.detach(), other.lp_B, gradient(model)))

    for one_by_one, together in zip(*found, strict=True):
        torch.testing.assert_close(together, one_by_one, rtol=1e-5, atol=1e-4)


def test_a_model_with_soft_capped_attention_is_taken_segment_by_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "varlen_attn", None)  # it must not be called
    own, others = rows()

    read, _ = Reading(tiny.model("gemma2"), packed=True, chunked=True, at_once=True).read(own, others)

    torch.testing.assert_close(read.lp_B, alone(tiny.model("gemma2"), own), rtol=1e-6, atol=1e-5)


def test_a_kernel_for_all_segments_is_required_of_a_gpu_alone() -> None:
    assert not attention.takes_all_at_once(CPU, torch.bfloat16)
    assert not attention.takes_all_at_once(torch.device("cuda"), torch.float32)
    assert attention.takes_all_at_once(torch.device("cuda"), torch.bfloat16)
