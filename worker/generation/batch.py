"""A batch of rows that grow by a token at a time: its cache, its padding and its positions.

Legend: B rows, T tokens, W width of the batch, V vocabulary.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from worker.generation.caches import is_joinable, join, keep, make_room, new_cache, resize, select
from worker.generation.ways import BatchWay, parameters_of
from worker.training.data.tokens import Ids


class Prefilled(NamedTuple):
    """Rows that were read: the ids, which of them are no padding, and the cache (None if there is none)."""

    ids_BT: Tensor
    seen_BT: Tensor
    cache: Any


class Batch:
    def __init__(self, model: Any, way: BatchWay, most_rows: int = 1) -> None:
        self._model, self._way, self._most_rows = model, way, most_rows
        self._parameters = parameters_of(model)
        self._device = model.get_input_embeddings().weight.device
        self._rows: Prefilled | None = None
        self._token_B = torch.empty(0, dtype=torch.int64)

    def prefill(self, prompts: Sequence[Ids]) -> tuple[Tensor, Prefilled]:
        """Reads prompts, equal ones once, and returns the logits of their first tokens, (B, V), and the read rows."""
        distinct = {prompt.tobytes(): prompt for prompt in prompts}
        place = {key: index for index, key in enumerate(distinct)}
        row_B = torch.tensor([place[prompt.tobytes()] for prompt in prompts], device=self._device)
        width = max(map(len, distinct.values()))
        ids_BT = torch.zeros(len(distinct), width, dtype=torch.int64)
        seen_BT = torch.zeros(len(distinct), width, dtype=torch.int64)
        for row, prompt in enumerate(distinct.values()):  # padded on the left, as completions continue on the right
            ids_BT[row, width - len(prompt) :] = torch.from_numpy(prompt)
            seen_BT[row, width - len(prompt) :] = 1
        ids_BT, seen_BT = ids_BT.to(self._device), seen_BT.to(self._device)
        cache = new_cache(self._model) if self._way.cached else None
        logits_BV, cache = self._forward(ids_BT, seen_BT, cache, new=width)
        if self._way.padded and not is_joinable(cache):
            raise NotImplementedError("the model's cache keeps more than keys, values and states")
        if len(distinct) < len(prompts):
            logits_BV, ids_BT, seen_BT = logits_BV[row_B], ids_BT[row_B], seen_BT[row_B]
            if cache is not None:
                select(cache, row_B)
        return logits_BV, Prefilled(ids_BT, seen_BT, cache)

    def join(self, read: Prefilled, token_B: Tensor, still: Sequence[int]) -> None:
        """Adds those of the read rows that are `still` open; `token_B` are the first tokens of all of them."""
        if not still:
            return
        read, token_B = self._kept(read, token_B, still)
        if self._rows is None:
            self._rows, self._token_B = read, token_B
            if self._way.padded:
                make_room(read.cache, max(self._most_rows, len(token_B)))
            return
        width = max(self._rows.seen_BT.shape[1], read.seen_BT.shape[1])
        rows, read = _widened(self._rows, width), _widened(read, width)
        join(rows.cache, read.cache)
        self._rows = Prefilled(
            torch.cat([rows.ids_BT, read.ids_BT]), torch.cat([rows.seen_BT, read.seen_BT]), rows.cache
        )
        self._token_B = torch.cat([self._token_B, token_B])

    def step(self) -> Tensor:
        """Reads the last token of each row and returns the logits of the next ones, (B, V)."""
        assert self._rows is not None
        ids_BT, seen_BT, cache = self._rows
        ids_BT = torch.cat([ids_BT, self._token_B[:, None]], 1)
        seen_BT = F.pad(seen_BT, (0, 1), value=1)
        logits_BV, cache = self._forward(ids_BT, seen_BT, cache, new=1)
        self._rows = Prefilled(ids_BT, seen_BT, cache)
        return logits_BV

    def advance(self, token_B: Tensor, still: Sequence[int]) -> list[int]:
        """Sets the last token of each row, and takes out the rows that are not `still` open.

        Returns the remaining rows in their new order: the last ones take the places that became free.
        """
        assert self._rows is not None
        if not still:
            self._rows = None
            return []
        if len(still) == len(token_B):
            self._token_B = token_B
            return list(still)
        order = _without_gaps(still)
        row_B = torch.tensor(order, device=self._device)
        rows = self._rows
        if rows.cache is not None:
            keep(rows.cache, order, row_B)
        self._rows = self._trimmed(Prefilled(rows.ids_BT[row_B], rows.seen_BT[row_B], rows.cache))
        self._token_B = token_B[row_B]
        return order

    def _kept(self, rows: Prefilled, token_B: Tensor, still: Sequence[int]) -> tuple[Prefilled, Tensor]:
        if len(still) == len(token_B):
            return rows, token_B
        row_B = torch.tensor(still, device=self._device)
        if rows.cache is not None:
            select(rows.cache, row_B)
        return self._trimmed(Prefilled(rows.ids_BT[row_B], rows.seen_BT[row_B], rows.cache)), token_B[row_B]

    def _trimmed(self, rows: Prefilled) -> Prefilled:
        """Returns the rows without the padding that all of them have."""
        return _narrowed(rows, int(rows.seen_BT.sum(1).max())) if self._way.padded else rows

    def _forward(self, ids_BT: Tensor, seen_BT: Tensor, cache: Any, *, new: int) -> tuple[Tensor, Any]:
        """Returns the logits after the last token, (B, V), and the cache. The cache lacks the `new` last tokens."""
        read = slice(None) if cache is None else slice(-new, None)
        inputs: dict[str, Any] = {"input_ids": ids_BT[:, read], "use_cache": cache is not None}
        if self._way.padded and "attention_mask" in self._parameters:
            inputs["attention_mask"] = seen_BT
        if "position_ids" in self._parameters:
            inputs["position_ids"] = (seen_BT.cumsum(1) - 1).clamp(min=0)[:, read]
        if cache is not None:
            inputs[self._way.cache_name] = cache
        output = self._called(inputs)
        return output.logits[:, -1], cache if cache is None else getattr(output, self._way.cache_name)

    def _called(self, inputs: Mapping[str, Any]) -> Any:
        """Calls the model. Its head, if it is a module that the model calls, gets the last token alone."""
        head = self._model.get_output_embeddings()
        hook = head.register_forward_pre_hook(lambda _, arguments: (arguments[0][:, -1:], *arguments[1:]))
        try:
            return self._model(**inputs)
        finally:
            hook.remove()


def _without_gaps(still: Sequence[int]) -> list[int]:
    """Returns the rows `still`, in rising order, with the last ones in the places of those that are missing."""
    open_rows, count = set(still), len(still)
    last = (row for row in still if row >= count)
    return [place if place in open_rows else next(last) for place in range(count)]


def _widened(rows: Prefilled, width: int) -> Prefilled:
    missing = width - rows.seen_BT.shape[1]
    if missing == 0:
        return rows
    resize(rows.cache, width)
    return Prefilled(F.pad(rows.ids_BT, (missing, 0)), F.pad(rows.seen_BT, (missing, 0)), rows.cache)


def _narrowed(rows: Prefilled, width: int) -> Prefilled:
    if width == rows.seen_BT.shape[1]:
        return rows
    resize(rows.cache, width)
    return Prefilled(rows.ids_BT[:, -width:], rows.seen_BT[:, -width:], rows.cache)
