"""Our sampler against `transformers.generate`: the same model, prompts, limit and number of rows at once."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
import transformers
from rich.console import Console

from benchmarks.evaluation.round import SEED, TOKENS, Round
from worker.demo import sampling
from worker.generation.sampler import Request, Sampler
from worker.generation.trial import way_of
from worker.training.data.tokens import Ids

ROWS_AT_ONCE = 32
#: Sizes of the model of random weights, 15 million parameters with the demo's small vocabulary.
LARGER = {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 8, "num_attention_heads": 6}


@dataclass(frozen=True)
class Race:
    """Sampled tokens per second, up to the end of each reply: medians over the rounds."""

    ours: float
    theirs: float
    ratios: list[float]
    mean_tokens: float

    def figures(self) -> dict[str, float]:
        return {
            "tokens_per_second": round(self.ours, 1),
            "generate_tokens_per_second": round(self.theirs, 1),
            "ratio": round(median(self.ratios), 2),
            "tokens_per_reply": round(self.mean_tokens, 1),
        }


def raced(finished: Round, rounds: int, console: Console, *, larger: bool) -> Race:
    """Samples in alternation by both, after a first, uncounted turn of each."""
    desk = sampling.load(finished.workdir / "output")
    model = _larger(desk) if larger else desk.model
    prompts = [np.array(ids, dtype=np.int32) for ids in desk.tokenizer(finished.prompts)["input_ids"]]
    end = desk.tokenizer.eos_token_id
    rates: list[tuple[float, float]] = []
    lengths: list[int] = []
    for number in range(rounds + 1):
        began = time.perf_counter()
        lengths = _ours(model, prompts, end)
        ours = sum(lengths) / (time.perf_counter() - began)
        began = time.perf_counter()
        theirs = sum(_theirs(model, prompts, end)) / (time.perf_counter() - began)
        console.print(f"turn {number}: ours {ours:,.0f} tokens/s, generate {theirs:,.0f}", highlight=False)
        if number:
            rates.append((ours, theirs))
    return Race(
        median(ours for ours, _ in rates),
        median(theirs for _, theirs in rates),
        [ours / theirs for ours, theirs in rates],
        sum(lengths) / len(lengths),
    )


def _ours(model: Any, prompts: Sequence[Ids], end: int) -> list[int]:
    """Returns the lengths of our replies; the trial of the way is a part of the time."""
    sampler = Sampler(model, way_of(model, prompts), [end], rows_at_once=ROWS_AT_ONCE, seed=SEED)
    written = sampler.write([Request(prompt, 1.0, TOKENS, stream) for stream, prompt in enumerate(prompts)])
    return [len(reply.tokens) for reply in written]


def _theirs(model: Any, prompts: Sequence[Ids], end: int) -> list[int]:
    """Returns the lengths of the replies of `generate`, in batches of prompts sorted by length."""
    settings = transformers.GenerationConfig(
        do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=TOKENS, eos_token_id=end, pad_token_id=end
    )
    in_order = sorted(prompts, key=len)
    lengths: list[int] = []
    for start in range(0, len(in_order), ROWS_AT_ONCE):
        batch = in_order[start : start + ROWS_AT_ONCE]
        width = max(map(len, batch))
        ids, seen = (torch.zeros(len(batch), width, dtype=torch.int64, device=model.device) for _ in range(2))
        for row, prompt in enumerate(batch):
            ids[row, width - len(prompt) :] = torch.from_numpy(prompt)
            seen[row, width - len(prompt) :] = 1
        with torch.no_grad():
            drawn = model.generate(input_ids=ids, attention_mask=seen, generation_config=settings)[:, width:]
        ended = (drawn == end).int()
        lengths += torch.where(ended.any(1), ended.argmax(1) + 1, drawn.shape[1]).tolist()
    return lengths


def _larger(desk: sampling.Desk) -> Any:
    config = desk.model.config.to_dict() | LARGER | {"num_key_value_heads": LARGER["num_attention_heads"]}
    config.pop("head_dim", None)
    torch.manual_seed(SEED)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config)).eval().to(desk.model.device)
    model.generation_config = desk.model.generation_config
    return model
