# Written by tools/async_client.py from ../client/completions.py: change that file, then run `make async-client`.
"""`AsyncCompletions`: prompts and the completions of a model."""

from collections.abc import Iterable
from urllib.parse import quote

from thumbwheel import wire
from thumbwheel.async_client.http import AsyncHttp
from thumbwheel.client.batches import batches, joined


class AsyncCompletions:
    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def register(self, completion_id: str, completion: wire.Completion) -> wire.CompletionReceipt:
        """Stores a prompt and its completion, so that events can refer to them by the id alone."""
        return await self._http.call(wire.CompletionReceipt, "PUT", _path(completion_id), completion, safe=True)

    async def register_many(self, completions: Iterable[wire.IdentifiedCompletion]) -> wire.CompletionBatchReceipt:
        """Stores prompts and their completions in few requests. Invalid items are reported; all others are stored."""
        receipts: list[wire.CompletionBatchReceipt] = []
        for batch in batches(completion.model_dump_json(exclude_none=True).encode() for completion in completions):
            answer = await self._http.send("POST", "/v1/completions/batch", lines=batch, safe=True)
            receipts.append(wire.CompletionBatchReceipt.model_validate_json(answer.content))
        return joined(wire.CompletionBatchReceipt, receipts)

    async def get(self, completion_id: str) -> wire.StoredCompletion:
        """Returns a registered completion."""
        return await self._http.get(wire.StoredCompletion, _path(completion_id))

    async def explain_label(self, completion_id: str) -> wire.LabelExplanation:
        """Returns the label of one completion under the adopted policy, signal by signal."""
        return await self._http.get(wire.LabelExplanation, f"{_path(completion_id)}/label")


def _path(completion_id: str) -> str:
    return f"/v1/completions/{quote(completion_id, safe='')}"
