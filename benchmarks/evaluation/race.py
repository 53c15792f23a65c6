"""Our sampler against `transformers.generate`: the same model, prompts and limit of tokens.

Our sampler chooses the number of rows at once, as in an evaluation. `generate` gets the rows of a step, as in a script
of a careful user, and in a turn of its own as many rows as ours.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
import transformers
from rich.console import Console

from benchmarks.evaluation.round import SEED, TOKENS, Round
from worker.demo import sampling
from worker.generation.capacity import rows_that_fit
from worker.generation.sampler import Request, Sampler
from worker.generation.trial import way_of
from worker.generation.ways import BatchWay
from worker.training.data.tokens import Ids

#: Rows of a step of the demo.
ROWS_OF_A_STEP = 32
#: Sizes of the model of random weights, 15 million parameters with the demo's small vocabulary.
LARGER = {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 8, "num_attention_heads": 6}


@dataclass(frozen=True)
class Race:
    """Sampled tokens per second in each round, up to the end of each reply."""

    ours: list[float]
    theirs: list[float]  # with the rows of a step
    theirs_with_our_rows: list[float]
    rows: int  # ours
    mean_tokens: float

    def figures(self) -> dict[str, float]:
        return {
            "tokens_per_second": round(median(self.ours), 1),
            "rows_at_once": self.rows,
            f"generate_{ROWS_OF_A_STEP}_rows_tokens_per_second": round(median(self.theirs), 1),
            "generate_as_many_rows_tokens_per_second": round(median(self.theirs_with_our_rows), 1),
            "ratio": round(_ratio(self.ours, self.theirs), 2),
            "ratio_with_as_many_rows": round(_ratio(self.ours, self.theirs_with_our_rows), 2),
            "tokens_per_reply": round(self.mean_tokens, 1),
        }


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return median(own / other for own, other in zip(ours, theirs, strict=True))


def raced(finished: Round, rounds: int, console: Console, *, larger: bool) -> Race:
    """Samples in alternation by both, after a first, uncounted turn of each."""
    desk = sampling.load(finished.workdir / "output")
    model = _larger(desk) if larger else desk.model
    prompts = [np.array(ids, dtype=np.int32) for ids in desk.tokenizer(finished.prompts)["input_ids"]]
    end = desk.tokenizer.eos_token_id
    way = way_of(model, prompts)
    rows = rows_that_fit(model, way, prompts, TOKENS, torch.float32, at_least=ROWS_OF_A_STEP)
    lengths: list[int] = []
    rates: list[list[float]] = []
    runners: list[Callable[[], list[int]]] = [
        lambda: _ours(model, way, prompts, end, rows),
        lambda: _theirs(model, prompts, end, ROWS_OF_A_STEP),
        lambda: _theirs(model, prompts, end, rows),
    ]
    for number in range(rounds + 1):
        found = []
        for runner in runners:
            began = time.perf_counter()
            written = runner()
            found.append(sum(written) / (time.perf_counter() - began))
            lengths = lengths or written
        console.print(
            f"turn {number}: ours {found[0]:,.0f} tokens/s with {rows} rows, "
            f"generate {found[1]:,.0f} with {ROWS_OF_A_STEP}, {found[2]:,.0f} with {rows}",
            highlight=False,
        )
        if number:
            rates.append(found)
    ours, theirs, with_our_rows = ([found[place] for found in rates] for place in range(3))
    return Race(ours, theirs, with_our_rows, rows, sum(lengths) / len(lengths))


def _ours(model: Any, way: BatchWay, prompts: Sequence[Ids], end: int, rows: int) -> list[int]:
    """Returns the lengths of our replies."""
    sampler = Sampler(model, way, [end], rows_at_once=rows, read_at_once=ROWS_OF_A_STEP, seed=SEED)
    written = sampler.write([Request(prompt, 1.0, TOKENS, stream) for stream, prompt in enumerate(prompts)])
    return [len(reply.tokens) for reply in written]


def _theirs(model: Any, prompts: Sequence[Ids], end: int, rows: int) -> list[int]:
    """Returns the lengths of the replies of `generate`, in batches of prompts sorted by length."""
    settings = transformers.GenerationConfig(
        do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=TOKENS, eos_token_id=end, pad_token_id=end
    )
    in_order = sorted(prompts, key=len)
    lengths: list[int] = []
    for start in range(0, len(in_order), rows):
        batch = in_order[start : start + rows]
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
