"""Samples completions from a model, as serving would at temperature 1, and estimates drift from them."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from worker.training.data.rows import Row
from worker.training.data.tokens import Ids

Pair = tuple[Ids, Ids]


def chosen_prompts(rows: Sequence[Row], count: int, seed: int) -> list[Ids]:
    """Returns up to `count` different prompts, shortest first so that batches need little padding."""
    prompts = list({row.prompt_key: row.prompt for row in rows}.values())
    order = np.random.default_rng([seed, 2]).permutation(len(prompts))[:count]
    return sorted((prompts[index] for index in order), key=len)


def sample(
    model: Any,
    prompts: Sequence[Ids],
    ends: Sequence[int],
    *,
    max_new_tokens: int,
    context: int | None,
    batch_size: int,
    seed: int,
    between: Callable[[], None],
    between_tokens: Callable[[], None] | None = None,
) -> list[Pair]:
    """Returns one completion for each prompt, from the model's own distribution: temperature 1, no truncation.

    A completion ends with the first of `ends`, or unfinished at `max_new_tokens`. `between` is called after each batch,
    `between_tokens` after each of its tokens; both may raise. Model and random state are restored.
    """
    device = model.get_input_embeddings().weight.device
    settings = transformers.GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=max_new_tokens,
        remove_invalid_values=True,  # a broken model is reported by its log-probs, not by a crash in here
        eos_token_id=list(ends),
        pad_token_id=ends[0],
    )
    callbacks = [_Callback(between_tokens)] if between_tokens is not None else []
    pairs: list[Pair] = []
    with _own_distribution(model), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for start in range(0, len(prompts), batch_size):
            batch = [_with_room(prompt, max_new_tokens, context) for prompt in prompts[start : start + batch_size]]
            longest = max(map(len, batch))
            ids = np.zeros((len(batch), longest), dtype=np.int64)
            seen = np.zeros((len(batch), longest), dtype=np.int64)
            for row, prompt in enumerate(batch):  # padded on the left, as generation continues on the right
                ids[row, longest - len(prompt) :] = prompt
                seen[row, longest - len(prompt) :] = 1
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                drawn = model.generate(
                    input_ids=torch.from_numpy(ids).to(device),
                    attention_mask=torch.from_numpy(seen).to(device),
                    generation_config=settings,
                    stopping_criteria=transformers.StoppingCriteriaList(callbacks),
                )
            for prompt, completion in zip(batch, drawn[:, longest:].cpu().numpy(), strict=True):
                stops = np.flatnonzero(np.isin(completion, ends))
                length = int(stops[0]) + 1 if len(stops) else len(completion)
                pairs.append((prompt, completion[:length].astype(np.int32)))
            between()
    return pairs


class _Callback(transformers.StoppingCriteria):
    """A criterion that never stops: it calls a function after each token, which may raise."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function

    def __call__(self, input_ids: torch.Tensor, *_: Any, **__: Any) -> Any:
        self._function()
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


@contextmanager
def _own_distribution(model: Any) -> Iterator[None]:
    """Removes the model's generation defaults in the block: temperature, top_p and penalties change its distribution.

    peft passes its own defaults on to the model inside.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    before = [(part, part.generation_config) for part in (model, inner)]
    model.generation_config = transformers.GenerationConfig()
    try:
        yield
    finally:
        for part, generation_config in before:
            part.generation_config = generation_config


def _with_room(prompt: Ids, max_new_tokens: int, context: int | None) -> Ids:
    return prompt if context is None else prompt[-max(1, context - max_new_tokens) :]


def drift_of_tokens(policy_N: NDArray[Any], reference_N: NDArray[Any]) -> NDArray[np.float64]:
    """Returns k3 per sampled token, (N,): an unbiased estimate of KL(policy ‖ reference) in nats, never negative.

    With d = log ref − log policy, k3 = e^d − 1 − d (Schulman 2020, "Approximating KL divergence").
    """
    d_N = reference_N.astype(np.float64) - policy_N.astype(np.float64)
    return np.asarray(np.expm1(d_N) - d_N)
