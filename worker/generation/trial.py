"""Finds the fastest way in which a model writes the same tokens as it would row by row.

Models differ in what they do with padding, positions and caches, and a fault would show in nothing but strange texts.
So a few short completions are written in each way, in float32, and their log-probs are compared with those of reading
each row whole and alone, until a way agrees.

Legend: C tokens of a completion.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from worker.generation.sampler import Request, Sampler, WrittenReply
from worker.generation.ways import UNCACHED, BatchWay, ways_of
from worker.training.data.tokens import Ids
from worker.training.forward.float32_weights import weights_in_float32
from worker.training.forward.logprobs import Reading
from worker.training.forward.single_rows import LOOSE, TIGHT
from worker.training.forward.unpackable import has_experts
from worker.training.machine.out_of_memory import is_out_of_memory

#: Tokens of each trial completion: the rows end at different times, so rows leave the batch and others join it.
TOKENS = (2, 5, 3, 4)


def way_of(
    model: Any,
    prompts: Sequence[Ids],
    *,
    room: int | None = None,
    between_tokens: Callable[[int], None] = lambda _: None,
) -> BatchWay:
    """Returns the fastest way that is right for `model`.

    prompts         the prompts to be written for, of which the shortest and the longest are tried
    room            tokens of the model's context
    between_tokens  as in `Sampler.write`
    """
    if not prompts:
        return UNCACHED
    requests = _requests(prompts, room)
    device = model.get_input_embeddings().weight.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), weights_in_float32(model):
        for way in ways_of(model)[:-1]:
            if _is_right(model, way, requests, between_tokens):
                return way
    return UNCACHED


def _requests(prompts: Sequence[Ids], room: int | None) -> list[Request]:
    """Returns requests for the shortest and the longest prompt, one in between, and one as long as the shortest."""
    in_order = sorted(prompts, key=len)
    shortest, longest = in_order[0], in_order[-1]
    tried: list[Ids] = [shortest, longest, longest[-len(shortest) :], in_order[len(in_order) // 2]]
    if room is not None:
        tried = [prompt[-max(1, room - max(TOKENS)) :] for prompt in tried]
    return [
        Request(prompt, 0.0, most if room is None else max(1, min(most, room - len(prompt))))
        for prompt, most in zip(tried, TOKENS, strict=True)
    ]


def _is_right(model: Any, way: BatchWay, requests: Sequence[Request], between_tokens: Callable[[int], None]) -> bool:
    allowed = LOOSE if has_experts(model) else TIGHT
    sampler = Sampler(model, way, (), rows_at_once=2, seed=0, with_log_probs=True)
    try:
        written = sampler.write(requests, between_tokens)
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError, NotImplementedError) as error:
        if is_out_of_memory(error):
            raise
        return False  # the model refuses this way
    alone = Reading.plain(model)
    return all(
        _agree(completion, _read_alone(alone, request, completion), allowed.relative, allowed.absolute)
        for request, completion in zip(requests, written, strict=True)
    )


def _read_alone(alone: Reading, request: Request, completion: WrittenReply) -> Any:
    with torch.no_grad():
        return alone.read([(request.prompt, completion.tokens)])[0].lp_N.cpu().numpy()


def _agree(completion: WrittenReply, expected_C: Any, relative: float, absolute: float) -> bool:
    assert completion.log_probs is not None
    difference_C = np.abs(completion.log_probs - expected_C)
    return bool((difference_C <= absolute + relative * np.abs(expected_C)).all())
