"""Writes completions with a model, many prompts at once.

Prompts are read shortest first, each once, however many completions it gets. A finished row leaves its batch, and new
rows take its place. The model's own defaults (its generation config) have no effect: a completion is the model's own
distribution at the requested temperature, without truncation or penalties.

How rows share a batch depends on the model (see `ways`). Whichever way is used, each row gets the tokens that it would
get alone, except for rounding.

Legend: B rows of the batch, T tokens, V vocabulary.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.generation.batch import Batch
from worker.generation.choosing import choose, log_prob, uniforms_of
from worker.generation.ways import BatchWay
from worker.training.data.tokens import Ids
from worker.training.forward.arithmetic import autocast
from worker.training.forward.cpu_bfloat16 import lacks_bfloat16, linear_layers, multiplied_as_float32

#: A batch is refilled once this share of its rows is free: reading prompts one by one costs more than free rows do.
REFILL_AT = 0.25


@contextmanager
def generating(model: Any, precision: torch.dtype) -> Iterator[None]:
    """Lets the model compute in `precision`, without gradients."""
    device = model.get_input_embeddings().weight.device
    in_float32 = precision is torch.bfloat16 and lacks_bfloat16(device)
    layers = linear_layers(model) if in_float32 else []
    with torch.no_grad(), multiplied_as_float32(layers), autocast(device, precision):
        yield


class Request(NamedTuple):
    """A completion to be written. `temperature`: 0 for the most probable tokens."""

    prompt: Ids
    temperature: float
    most: int  # tokens
    stream: int = 0  # of random numbers


class WrittenReply(NamedTuple):
    """A written completion. It is `finished` if its last token is an end; otherwise it reached its limit."""

    tokens: Ids  # [C], at least one
    log_probs: NDArray[np.float32] | None  # [C], at temperature 1, if they were requested
    finished: bool


@dataclass
class _Row:
    number: int
    request: Request
    uniform: NDArray[np.float64]
    tokens: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)


class Sampler:
    """Writes completions with one model in one way."""

    def __init__(
        self,
        model: Any,
        way: BatchWay,
        ends: Sequence[int],
        *,
        rows_at_once: int,
        seed: int,
        read_at_once: int | None = None,
        precision: torch.dtype = torch.float32,
        with_log_probs: bool = False,
    ) -> None:
        """Prepares a sampler of `rows_at_once` rows.

        read_at_once  prompts that are read in one forward; None: `rows_at_once`
        """
        self._model, self._way, self._rows_at_once, self._seed = model, way, rows_at_once, seed
        self._read_at_once, self._precision = read_at_once or rows_at_once, precision
        self._ends = frozenset(ends)
        self._with_log_probs = with_log_probs

    def write(
        self, requests: Sequence[Request], between_tokens: Callable[[int], None] = lambda _: None
    ) -> list[WrittenReply]:
        """Returns the completions, in the order of the requests.

        `between_tokens` is called after each forward with the number of tokens that it gave; it may raise in order to
        stop. No state of the model and no random generator is changed.
        """
        rows = [
            _Row(number, request, uniforms_of(self._seed, request.stream, request.most if request.temperature else 0))
            for number, request in enumerate(requests)
        ]
        with generating(self._model, self._precision):
            for queue in self._queues(rows):
                self._work_off(deque(queue), between_tokens)
        return [self._completion(row) for row in rows]

    def _queues(self, rows: Sequence[_Row]) -> Iterator[list[_Row]]:
        """Yields the rows that may share a batch: those of equal length if the model must not see padding."""
        in_order = sorted(rows, key=lambda row: (len(row.request.prompt), row.request.prompt.tobytes()))
        if self._way.padded:
            yield in_order
            return
        for _, equally_long in groupby(in_order, key=lambda row: len(row.request.prompt)):
            yield list(equally_long)

    def _work_off(self, waiting: deque[_Row], between_tokens: Callable[[int], None]) -> None:
        most = min(self._rows_at_once, len(waiting))
        batch, open_rows = Batch(self._model, self._way, most), list[_Row]()
        while waiting or open_rows:
            free = self._rows_at_once - len(open_rows)
            may_join = not open_rows or (self._way.padded and free >= REFILL_AT * self._rows_at_once)
            if waiting and may_join:
                new = [waiting.popleft() for _ in range(min(free, len(waiting), self._read_at_once))]
                logits_BV, read = batch.prefill([row.request.prompt for row in new])
                token_B = self._take(new, logits_BV)
                still = self._open(new)
                batch.join(read, token_B, still)
                open_rows += [new[index] for index in still]
                between_tokens(len(new))
                continue
            token_B = self._take(open_rows, batch.step())
            between_tokens(len(open_rows))
            order = batch.advance(token_B, self._open(open_rows))
            open_rows = [open_rows[index] for index in order]

    def _take(self, rows: Sequence[_Row], logits_BV: Tensor) -> Tensor:
        """Chooses the next token of each row, records it, and returns the tokens."""
        device = logits_BV.device
        temperature_B = torch.tensor([row.request.temperature for row in rows], dtype=torch.float32).to(device)
        drawn = [row.uniform[len(row.tokens)] if row.request.temperature else 0.0 for row in rows]
        token_B = choose(logits_BV, temperature_B, torch.tensor(drawn, dtype=torch.float64).to(device))
        for row, token in zip(rows, token_B.tolist(), strict=True):
            row.tokens.append(token)
        if self._with_log_probs:
            for row, lp in zip(rows, log_prob(logits_BV, token_B).tolist(), strict=True):
                row.log_probs.append(lp)
        return token_B

    def _open(self, rows: Sequence[_Row]) -> list[int]:
        """Returns the indices of the rows that need more tokens."""
        return [index for index, row in enumerate(rows) if not self._has_ended(row)]

    def _has_ended(self, row: _Row) -> bool:
        return row.tokens[-1] in self._ends or len(row.tokens) == row.request.most

    def _completion(self, row: _Row) -> WrittenReply:
        log_probs = np.array(row.log_probs, dtype=np.float32) if self._with_log_probs else None
        return WrittenReply(np.array(row.tokens, dtype=np.int32), log_probs, row.tokens[-1] in self._ends)
