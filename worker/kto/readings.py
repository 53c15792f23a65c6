"""Which way a model may be read: tried at the start on rows of the run, against each row on its own.

A model whose attention mixes more than a segment's own tokens, or whose head does more than we know of, would train on
wrong numbers without a word. So a fast way is only taken where it says the same as the plain one.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from worker.kto.attention import takes_all_at_once
from worker.kto.batches import Block
from worker.kto.logprobs import HeadNotCalled, Reading
from worker.kto.packing import Pair
from worker.kto.process import Refusal
from worker.kto.reference import matched, mismatched
from worker.kto.rows import Row

#: How far two forwards of the same weights may be apart in lp, per nat of |lp| and at least, by precision.
SAME_WITHIN = {torch.float32: (1e-5, 1e-3), torch.bfloat16: (2e-2, 0.5)}
#: Rows of a run that are tried, and the longest ones that are tried besides.
ROWS, LONGEST = 8, 2


class Way(NamedTuple):
    packed: bool
    chunked: bool
    at_once: bool = False  # one kernel of the GPU for all packed rows


#: The faster first, before the plain one.
WAYS = (
    Way(packed=True, chunked=True, at_once=True),
    Way(packed=True, chunked=True),
    Way(packed=True, chunked=False),
    Way(packed=False, chunked=True),
)


def reading_of(model: Any, batches: Sequence[tuple[Sequence[Pair], Sequence[Pair]]], precision: torch.dtype) -> Reading:
    """The fastest way of reading `model` that says the same as reading row after row. `batches`: rows with their own
    completions, and with others.
    """
    plain = Reading.plain(model, precision)
    with torch.no_grad():
        expected = [[plain.read([pair])[0].lp_B for pair in (*own, *others)] for own, others in batches]
    for way in WAYS:
        if way.at_once and not takes_all_at_once(next(model.parameters()).device, precision):
            continue
        reading = Reading(model, precision, packed=way.packed, chunked=way.chunked, at_once=way.at_once)
        if _says_the_same(reading, batches, [torch.cat(lp) for lp in expected], precision):
            return reading
    return plain


def is_compiled(reading: Reading, batches: Sequence[tuple[Sequence[Pair], Sequence[Pair]]]) -> bool:
    """Compile the layers of a model that is read so, where that works and the model says the same then; else leave it
    as it is.
    """
    if not reading.compilable:
        return False
    with torch.no_grad():
        expected = [torch.cat([read.lp_B for read in reading.read(*batch) if read is not None]) for batch in batches]
    reading.compile()
    try:
        if _says_the_same(reading, batches, expected, reading.precision):
            return True
    except Exception:  # noqa: BLE001, S110 - a compiler can fail in any way
        pass
    reading.uncompile()
    return False


def tried(rows: Sequence[Row], max_length: int) -> Sequence[tuple[Sequence[Pair], Sequence[Pair]]]:
    """Rows to try a way with, in two batches: the first ones, and the longest, which alone may reach beyond a sliding
    window. Each prompt comes with its completion, and with that of the next row.
    """
    longest = sorted(range(len(rows)), key=lambda row: -rows[row].length)
    found = []
    for chosen in (range(min(len(rows), ROWS)), longest[:LONGEST]):
        members = tuple(chosen)
        turned = Block(members, (*members[1:], *members[:1]))
        found.append((matched(rows, turned), mismatched(rows, turned, max_length)))
    return found


@torch.no_grad()
def _says_the_same(
    reading: Reading,
    batches: Sequence[tuple[Sequence[Pair], Sequence[Pair]]],
    expected: Sequence[torch.Tensor],
    precision: torch.dtype,
) -> bool:
    relative, absolute = SAME_WITHIN[precision]
    try:
        for (own, others), expected_B in zip(batches, expected, strict=True):
            found = reading.read(own, others)
            lp_B = torch.cat([read.lp_B for read in found if read is not None])
            if not bool(((lp_B - expected_B).abs() <= absolute + relative * expected_B.abs()).all()):
                return False
    except (HeadNotCalled, Refusal, RuntimeError, TypeError, ValueError, AttributeError, IndexError):
        return False
    return True
