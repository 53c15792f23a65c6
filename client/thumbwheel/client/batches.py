"""Batches of items, one a line, and the receipt of all of them. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from thumbwheel import wire

#: The largest batch, in items and roughly in bytes: well below the limits of the API.
BATCH_ITEMS = 500
BATCH_BYTES = 8 * 1024 * 1024

Receipt = TypeVar("Receipt", wire.BatchReceipt, wire.CompletionBatchReceipt)


def batches(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yields the bodies of requests that bring the lines, each the JSON of an item."""
    batch: list[bytes] = []
    size = 0
    for line in lines:
        if batch and (len(batch) == BATCH_ITEMS or size + len(line) > BATCH_BYTES):
            yield b"\n".join(batch)
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield b"\n".join(batch)


def joined(model: type[Receipt], receipts: Sequence[Receipt]) -> Receipt:
    """Returns the receipt of batches that were sent one after the other; the places of items count through all."""
    items: list[wire.BatchItem | wire.CompletionBatchItem] = []
    for receipt in receipts:
        first = len(items)
        items += [item.model_copy(update={"index": item.index + first}) for item in receipt.items]
    return model(
        stored=sum(receipt.stored for receipt in receipts),
        replayed=sum(receipt.replayed for receipt in receipts),
        rejected=sum(receipt.rejected for receipt in receipts),
        items=items,
    )
