"""Groups nearly equal prompts. A group is permanent and is held out as a whole. Pure.

Prompts come in the order in which the log first had them. Each is compared only with the leaders before it: it joins
the earliest one that it is nearly equal to, or becomes a leader itself. So later prompts never move a prompt that was
placed, a repeated prompt gets the same leader again, and chains of small changes do not grow a group, since each member
is near its leader.

A prompt is nearly equal to a leader if the leader is the first with a band of the prompt, and at least `AGREEING` of
the 128 bins of their sketches agree (see `prompts.sketch`, also for the sources of the formula). With J, the Jaccard
similarity of the sets of 8 neighbouring bytes, the probability is
(1 − (1 − J⁵)¹⁰) · P(Binomial(128, J + (1 − J)/4) ≥ 106):

    J      0.5      0.6     0.7    0.75   0.8    0.85   0.9      0.95
    joins  10⁻⁷     0.0004  0.07   0.35   0.78   0.98   0.9998   1

Prompts of less than 48 bytes, about 8 words, are near only to themselves. The messages of the system or the developer
are compared apart from the rest of a chat, and both must be near: neither a long shared instruction nor one question
about many documents makes a group. In a prompt of one text, a template cannot be distinguished from its contents: if it
is nine tenths of each prompt, the prompts are one group.

A leader takes 128 bytes: its key, its bands, its print, and the number of the print of its system text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.snapshots.prompts.band_index import NOBODY, NUMBER, BandIndex, Column
from app.snapshots.prompts.sketch import (
    BANDS,
    BINS,
    PRINT_BYTES,
    SHORTEST,
    Sketches,
    agreements,
    disagreements,
    exact_print,
    planes,
    sketches,
)
from app.snapshots.prompts.system_text import spoken

#: The number of 128 bins that must agree, for an estimated J of 0.77.
AGREEING = 106
KEY_BYTES = 16

_SCHEME = {b"scheme": b"thumbwheel sketch 1"}
#: The schema of stored leaders.
LEADERS = pa.schema(
    [
        pa.field("leader", pa.binary(KEY_BYTES), nullable=False),
        pa.field("bands", pa.binary(8 * BANDS), nullable=False),
        pa.field("said", pa.binary(PRINT_BYTES), nullable=False),
        pa.field("system", pa.binary(PRINT_BYTES), nullable=False),
    ],
    metadata=_SCHEME,
)


@dataclass(frozen=True)
class _Sketched:
    """Sketches of T texts. `bands`: uint64 (T, BANDS), the lower bits 0 · `said`: prints, uint8 (T, PRINT_BYTES) ·
    `system`: numbers of the system texts, int32 (T,)."""

    bands: NDArray[np.uint64]
    said: NDArray[np.uint8]
    system: NDArray[np.int32]

    def of(self, rows: NDArray[np.int64]) -> "_Sketched":
        return _Sketched(self.bands[rows], self.said[rows], self.system[rows])


class Groups:
    """The leaders so far, without their texts."""

    def __init__(self) -> None:
        self._keys = Column(KEY_BYTES)
        self._said = Column(PRINT_BYTES)
        self._system = Column(4)
        self._index = BandIndex()
        self._systems = _Systems()
        self._reported = 0

    def __len__(self) -> int:
        """Returns the number of leaders that another prompt could be near to."""
        return len(self._keys)

    def add(self, texts: Sequence[str], keys: Sequence[bytes]) -> list[bytes]:
        """Returns the key of the leader of each text's group.

        texts  texts from `prompts.split.group_of` in the order of the log; neither their division into calls nor a
               repeated text changes the result
        keys   16 bytes for each text, equal for equal texts alone
        """
        leader_keys = list(keys)
        compared = _comparable(texts)
        if not compared:
            return leader_keys
        rows = [row for row, _, _ in compared]
        made = sketches(_encoded(said) for _, said, _ in compared)
        system = np.fromiter((self._systems.number(text) for _, _, text in compared), np.int32, len(compared))
        sketched = _Sketched(_hashes(made), made.prints, system)
        candidates = self._index.earliest(sketched.bands)
        leaders = self._nearest(sketched, candidates)
        alone = np.flatnonzero(leaders == NOBODY)
        own = [keys[rows[row]] for row in alone.tolist()]
        leaders[alone] = self._lead(sketched.of(alone), candidates[alone] == NOBODY, own)
        for row, key in zip(rows, self._keys.rows[leaders], strict=True):
            leader_keys[row] = key.tobytes()
        return leader_keys

    def rows(self) -> pa.Table:
        """Returns the new leaders since the last call or since `load`, to be stored and loaded in this order."""
        new = slice(self._reported, len(self))
        bands = self._index.since(self._reported)
        self._reported = len(self)
        system = self._systems.prints[self._system.rows[new].view(np.int32).ravel()]
        columns = [self._keys.rows[new], bands.astype("<u8", copy=False), self._said.rows[new], system]
        return pa.table([_binary(column) for column in columns], schema=LEADERS)

    def load(self, rows: pa.Table) -> None:
        """Loads leaders from `rows`. Raises ValueError if they were made by another scheme."""
        if not rows.schema.equals(LEADERS) or (rows.schema.metadata or {}).get(b"scheme") != _SCHEME[b"scheme"]:
            raise ValueError(
                f"these groups were not made by {_SCHEME[b'scheme'].decode()}: keep the version that made them, or "
                "group all prompts of the log again"
            )
        keys, bands, said, system = (_bytes_of(rows[name]) for name in LEADERS.names)
        numbers = np.fromiter(map(self._systems.number_of_print, system), np.int32, len(system))
        self._append(_Sketched(bands.view("<u8").astype(np.uint64, copy=False), said, numbers), keys)
        self._reported = len(self)

    def _nearest(self, sketched: _Sketched, candidates: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the earliest candidate that is near to each text, or `NOBODY`. `candidates`: (T, BANDS)."""
        leaders = np.full(len(candidates), NOBODY)
        row, band = np.nonzero(candidates != NOBODY)
        if row.size:
            number = candidates[row, band]
            other = self._system.rows[number].view(np.int32).ravel()
            near = (agreements(sketched.said[row], self._said.rows[number]) >= AGREEING) & self._systems.near(
                sketched.system[row], other
            )
            np.minimum.at(leaders, row[near], number[near])
        return leaders

    def _lead(self, sketched: _Sketched, free: NDArray[np.bool_], keys: Sequence[bytes]) -> NDArray[np.int64]:
        """Adds leaders for texts that are near to no earlier leader, and returns the leader of each: the text itself,
        or an earlier one of these texts.

        free  (T, BANDS), true for bands that no leader has; the first of these texts takes such a band
        """
        start = len(self)
        joins = np.full(len(keys), -1)
        first: dict[tuple[int, int], int] = {}
        prints: dict[int, tuple[int, int]] = {}
        system = sketched.system.tolist()
        rows = _entangled(sketched.bands, free)
        for row, hashes, is_free in zip(rows.tolist(), sketched.bands[rows].tolist(), free[rows].tolist(), strict=True):
            bands = list(compress(enumerate(hashes), is_free))
            own_print = prints[row] = planes(sketched.said[row])
            near = [
                other
                for other in {first[band] for band in bands if band in first}
                if disagreements(own_print, prints[other]) <= BINS - AGREEING
                and (system[row] == system[other] or self._systems.near(*sketched.system[[[row], [other]]])[0])
            ]
            if near:
                joins[row] = min(near)
            else:
                for band in bands:
                    first.setdefault(band, row)
        new = np.flatnonzero(joins < 0)
        numbers = np.empty(len(keys), np.int64)
        numbers[new] = start + np.arange(new.size)
        numbers[joins >= 0] = numbers[joins[joins >= 0]]
        own = np.frombuffer(b"".join(keys[row] for row in new.tolist()), np.uint8).reshape(-1, KEY_BYTES)
        self._append(sketched.of(new), own)
        return numbers

    def _append(self, sketched: _Sketched, keys: NDArray[np.uint8]) -> None:
        if len(self) + len(keys) >= NOBODY:
            raise OverflowError(f"more than {NOBODY:,} groups of prompts")
        self._index.append(sketched.bands, len(self))
        self._keys.append(keys)
        self._said.append(sketched.said)
        self._system.append(sketched.system.reshape(-1, 1).view(np.uint8))


class _Systems:
    """The prints of system texts, of which there are few. Number 0 is the empty text."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._prints = Column(PRINT_BYTES)
        self._last = ("", self.number_of_print(exact_print(b"")))

    @property
    def prints(self) -> NDArray[np.uint8]:
        return self._prints.rows

    def number(self, text: str) -> int:
        if text != self._last[0]:
            content = _encoded(text)
            is_long = len(content) >= SHORTEST
            own_print = sketches([content]).prints[0] if is_long else exact_print(content)
            self._last = (text, self.number_of_print(own_print))
        return self._last[1]

    def number_of_print(self, said: NDArray[np.uint8]) -> int:
        number = self._numbers.setdefault(said.tobytes(), len(self._prints))
        if number == len(self._prints):
            self._prints.append(said.reshape(1, -1))
        return number

    def near(self, one: NDArray[np.int32], other: NDArray[np.int32]) -> NDArray[np.bool_]:
        return (one == other) | (agreements(self.prints[one], self.prints[other]) >= AGREEING)


def _comparable(texts: Sequence[str]) -> list[tuple[int, str, str]]:
    """Returns (row, text without instructions, system text) for the texts that are long enough."""
    parted = ((row, *spoken(text)) for row, text in enumerate(texts))
    return [entry for entry in parted if len(entry[1]) >= SHORTEST or len(_encoded(entry[1])) >= SHORTEST]


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _hashes(made: Sketches) -> NDArray[np.uint64]:
    return made.bands & ~NUMBER


def _entangled(bands: NDArray[np.uint64], free: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Returns the texts that share a free band with another of these texts."""
    shared = np.zeros(len(bands), dtype=bool)
    for band in range(BANDS):
        rows = np.flatnonzero(free[:, band])
        rows = rows[np.argsort(bands[rows, band], kind="stable")]
        same = bands[rows[1:], band] == bands[rows[:-1], band]
        shared[rows[1:][same]] = True
        shared[rows[:-1][same]] = True
    return np.flatnonzero(shared)


def _binary(rows: NDArray[np.generic]) -> pa.Array:
    """Returns the bytes of each row as an Arrow array."""
    held = np.ascontiguousarray(rows)
    width = held.shape[1] * held.itemsize
    return pa.Array.from_buffers(pa.binary(width), len(held), [None, pa.py_buffer(held)])


def _bytes_of(column: pa.ChunkedArray) -> NDArray[np.uint8]:
    width = column.type.byte_width
    return np.frombuffer(b"".join(column.to_pylist()), np.uint8).reshape(-1, width)
