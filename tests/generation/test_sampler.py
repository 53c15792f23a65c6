"""The sampler: it writes what the model itself would write, whatever rows share a batch."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from tests.families import toys
from tests.trainer import tiny
from worker.generation.capacity import rows_that_fit
from worker.generation.prompts import chosen_rows, with_room
from worker.generation.sampler import Request, Sampler, WrittenReply
from worker.generation.trial import way_of
from worker.generation.ways import PADDED, UNCACHED, BatchWay, ways_of
from worker.training.data.tokens import Ids
from worker.training.forward.logprobs import Reading
from worker.training.machine.process import Stopped

LENGTHS = (5, 17, 5, 9, 1, 30)
#: Family → whether its rows may be padded, and whether it has a cache.
FAMILIES = {
    "llama": (True, True), "gpt2": (True, True), "gemma2": (True, True), "lfm2": (True, True), "bloom": (True, True),
    "mamba": (False, True), "rwkv": (False, False),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_cpu_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def prompts() -> list[Ids]:
    draw = np.random.default_rng(0)
    return [draw.integers(3, 250, size=length).astype(np.int32) for length in LENGTHS]


def written(
    model: Any, way: BatchWay, requests: list[Request], *, rows_at_once: int = 3, ends: Any = (2,), **options: Any
) -> list[Any]:
    sampler = Sampler(model, way, ends, rows_at_once=rows_at_once, seed=1, with_log_probs=True, **options)
    return sampler.write(requests)


def generated(model: Any, prompt: Ids, most: int) -> list[int]:
    """Returns the greedy completion of a single row by transformers, without a cache."""
    ids = torch.from_numpy(prompt).long()[None]
    settings = transformers.GenerationConfig(do_sample=False, max_new_tokens=most, eos_token_id=2, pad_token_id=0)
    mask = torch.ones_like(ids)
    row = model.generate(input_ids=ids, attention_mask=mask, generation_config=settings, use_cache=False)
    return list(row[0, len(prompt) :].tolist())


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=pytest.mark.trial) if name in ("bloom", "rwkv") else name for name in FAMILIES],
)
def test_greedy_tokens_are_those_of_transformers_and_log_probs_those_of_a_full_forward(family: str) -> None:
    model = toys.model_of(family)
    requests = [Request(prompt, 0.0, most) for prompt, most in zip(prompts(), (12, 7, 3, 12, 9, 5), strict=True)]

    way = way_of(model, prompts())
    completions = written(model, way, requests)

    assert (way.padded, way.cached) == FAMILIES[family]
    for request, completion in zip(requests, completions, strict=True):
        assert completion.tokens.tolist() == generated(model, request.prompt, request.most)
        with torch.no_grad():
            read, _ = Reading.plain(model).read([(request.prompt, completion.tokens)])
        assert completion.log_probs == pytest.approx(read.lp_N.numpy(), abs=2e-4)


def test_a_model_that_mistakes_padding_or_its_cache_is_written_without_them() -> None:
    mistaken = toys.model_of("llama")
    forward = mistaken.forward

    def without_mask(input_ids: Any, attention_mask: Any = None, past_key_values: Any = None, **named: Any) -> Any:
        return forward(input_ids, past_key_values=past_key_values, **named)

    def forgetful(input_ids: Any, past_key_values: Any = None, **named: Any) -> Any:
        cache = None if past_key_values is None else transformers.DynamicCache(config=mistaken.config)
        return forward(input_ids, past_key_values=cache, **named)

    def failing(input_ids: Any, past_key_values: Any = None, **named: Any) -> Any:
        if past_key_values is not None:
            raise ValueError("this cache is not mine")
        return forward(input_ids, **named)

    def way_with(changed: Callable[..., Any]) -> BatchWay:
        mistaken.forward = changed
        return way_of(mistaken, prompts())

    padded, aligned, uncached = ways_of(mistaken)
    assert way_with(forward) == padded == PADDED
    assert way_with(without_mask) == aligned
    assert way_with(forgetful) == uncached == UNCACHED
    assert way_with(failing) == UNCACHED


def test_drawn_tokens_depend_neither_on_the_batch_nor_on_the_order_nor_on_the_way() -> None:
    model = tiny.model()
    requests = [Request(prompt, 0.7, 9, stream) for stream, prompt in enumerate([*prompts(), *prompts()])]

    def tokens_of(way: BatchWay, rows_at_once: int, order: list[int], **options: Any) -> dict[int, list[int]]:
        completions = written(
            model, way, [requests[number] for number in order], rows_at_once=rows_at_once, ends=(256,), **options
        )
        return {number: completion.tokens.tolist() for number, completion in zip(order, completions, strict=True)}

    in_order = list(range(len(requests)))
    expected = tokens_of(UNCACHED, 1, in_order)
    assert tokens_of(PADDED, 5, in_order) == expected
    assert tokens_of(PADDED, 64, in_order[::-1]) == expected
    assert tokens_of(PADDED, 64, in_order, read_at_once=2) == expected
    assert all(expected[number] != expected[number + len(LENGTHS)] for number in range(len(LENGTHS)))


def test_samples_follow_the_distribution_at_the_temperature_whatever_the_models_generation_defaults() -> None:
    # given prompts of two lengths in one batch, and defaults that would change the distribution
    model = tiny.model(vocab_size=12, eos_token_id=None)
    model.generation_config = transformers.GenerationConfig(do_sample=True, temperature=0.1, top_k=1, eos_token_id=5)
    short, long = np.array([3, 1], np.int32), np.array([2, 7, 7, 9, 4, 1], np.int32)

    for temperature in (1.0, 0.5):
        requests = [Request([short, long][n % 2], temperature, 1, n) for n in range(6000)]
        completions = written(model, PADDED, requests, rows_at_once=6000, ends=(0,))

        for start, prompt in ((0, short), (1, long)):
            with torch.no_grad():
                logits = model(input_ids=torch.from_numpy(prompt).long()[None]).logits[0, -1]
            drawn = (
                np.bincount([int(completion.tokens[0]) for completion in completions[start::2]], minlength=12) / 3000
            )
            assert np.abs(drawn - torch.softmax(logits / temperature, -1).numpy()).sum() / 2 < 0.04


def test_a_completion_ends_with_the_first_end_token_or_unfinished_at_its_limit() -> None:
    model = tiny.model(vocab_size=6, eos_token_id=None)

    completions = written(
        model, PADDED, [Request(np.array([3, 1], np.int32), 1.0, 12, n) for n in range(50)], rows_at_once=8, ends=(0, 4)
    )

    def is_whole(completion: WrittenReply) -> bool:
        ends = np.isin(completion.tokens, [0, 4])
        return not ends[:-1].any() and bool(ends[-1]) == completion.finished

    assert all(is_whole(completion) for completion in completions)
    assert {completion.finished for completion in completions} == {True, False}
    assert all(completion.finished or len(completion.tokens) == 12 for completion in completions)


def test_rows_leave_and_join_so_that_no_forward_has_more_rows_than_allowed() -> None:
    model, rows_of_forwards = tiny.model(), list[int]()
    requests = [Request(prompt, 0.0, most) for prompt, most in zip(prompts(), (2, 9, 4, 3, 8, 6), strict=True)]

    sampler = Sampler(model, PADDED, (256,), rows_at_once=3, seed=0)
    completions = sampler.write(requests, rows_of_forwards.append)

    assert [len(completion.tokens) for completion in completions] == [2, 9, 4, 3, 8, 6]
    assert sum(rows_of_forwards) == 32
    assert max(rows_of_forwards) == 3
    # new rows come in while others continue: one batch after the other would take 21 forwards
    assert any(later > earlier for earlier, later in pairwise(rows_of_forwards))


def test_as_many_rows_are_written_together_as_memory_holds() -> None:
    def fitting(way: BatchWay, most: int) -> int:
        return rows_that_fit(tiny.model(), way, prompts(), most, torch.float32, at_least=24)

    assert fitting(PADDED, 50) == 192  # 24 times a power of two, at most 256
    assert fitting(PADDED, 10**12) == 24
    assert fitting(UNCACHED, 50) == 24


def test_a_model_of_bfloat16_weights_is_written_with_its_own_rounding() -> None:
    model = toys.model_of("llama", dtype=torch.bfloat16)
    requests = [Request(prompt, 0.0, 4) for prompt in prompts()]

    sampler = Sampler(
        model, way_of(model, prompts()), (2,), rows_at_once=3, seed=0, precision=torch.bfloat16, with_log_probs=True
    )
    for request, completion in zip(requests, sampler.write(requests), strict=True):
        with torch.no_grad():
            read, _ = Reading.plain(model, torch.bfloat16).read([(request.prompt, completion.tokens)])
        assert completion.log_probs == pytest.approx(read.lp_N.numpy(), abs=0.1)


def test_sampling_is_stopped_between_two_tokens_and_leaves_the_random_state() -> None:
    forwards = []

    def look(rows: int) -> None:
        forwards.append(rows)
        if len(forwards) == 3:
            raise Stopped

    model = tiny.model()
    state = torch.random.get_rng_state()
    with pytest.raises(Stopped):
        Sampler(model, PADDED, (259,), rows_at_once=1, seed=1).write([Request(prompts()[0], 1.0, 50)], look)
    assert len(forwards) == 3
    assert torch.equal(state, torch.random.get_rng_state())


def test_prompts_are_chosen_once_each_and_shortened_to_leave_room() -> None:
    from tests.trainer.test_batches import row

    rows = [row(number % 5, number, length=number % 5 + 1) for number in range(20)]

    assert sorted(len(chosen.prompt) for chosen in chosen_rows(rows, 100, seed=0)) == [1, 2, 3, 4, 5]
    assert len(chosen_rows(rows, 2, seed=0)) == 2
    assert with_room(np.arange(9, dtype=np.int32), 4, 8).tolist() == [5, 6, 7, 8]
    assert with_room(np.arange(9, dtype=np.int32), 4, None).tolist() == list(range(9))
