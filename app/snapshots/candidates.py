"""All rows that a snapshot could have: what was labelled, and what was written in place of it, with its texts on disk.
Pure but for the file of texts.

Legend: N rows, P different prompts, C completions that something was said of.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any, Protocol

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from thumbwheel import wire

from app.labels.guards.text import normalised
from app.labels.reading import CARRIERS
from app.snapshots.rows import Rows
from app.snapshots.split import group_of, key_of
from app.snapshots.texts import Texts

KEY = 16  # bytes
#: Texts that are asked for one by one, at a time.
AT_ONCE = 4096
#: Different prompts that are remembered as they were sent.
REMEMBERED = 50_000
#: Characters at the end of a text that are looked at first, to find out which texts may say the same; and how many of
#: them, once normalised, are compared: fewer, as what is cut off may change those at the cut.
END, COMPARED = 96, 32


class Source(Protocol):
    """Where the texts are."""

    def carried(self) -> Iterable[pa.RecordBatch]: ...

    def rejected(self, positions: Sequence[int]) -> Mapping[int, tuple[str, str]]: ...

    def edited(self, positions: Sequence[int]) -> Mapping[int, str]: ...


@dataclass(frozen=True)
class Prompts:
    """key: (P, 2) what stands for what the prompt says · place, length: (P,) of its text · chat: (P,) whether that is
    JSON of messages."""

    key: NDArray[np.uint64]
    place: NDArray[np.int64]
    length: NDArray[np.int32]
    chat: NDArray[np.bool_]

    def groups(self, texts: Texts, which: NDArray[np.int64] | None = None) -> Iterator[str]:
        """What each prompt says, or each of these; see `split.group_of`."""
        numbers = np.arange(len(self.key)) if which is None else which
        for start in range(0, len(numbers), AT_ONCE):
            part = numbers[start : start + AT_ONCE]
            said = texts.read(self.place[part], self.length[part])
            for text, chat in zip(said, self.chat[part].tolist(), strict=True):
                yield group_of(msgspec.json.decode(text) if chat else text.decode("utf-8", "surrogatepass"))


@dataclass(frozen=True)
class Candidates:
    """Columns of N rows.

    completion  number of its completion in `ids`, whose checkpoint is one of `checkpoints`
    edit        of a text that was written in place of it: 64 bits of its hash; else 0
    weight      thousandths
    reason      number in `reasons`
    moment      of the newest signal that made it, µs since 1970
    prompt      number in `prompts`
    place, length  of the completion's text
    said        (N, 2) the same for rows whose prompt and completion say the same
    members     (row, actor) of each actor on its winning side; actors are numbered by their ids
    """

    ids: pa.Array
    checkpoint: NDArray[np.int32]  # (C,) number, -1 for none
    checkpoints: Sequence[str]
    reasons: Sequence[str]
    completion: NDArray[np.int32]
    edit: NDArray[np.uint64]
    label: NDArray[np.bool_]
    weight: NDArray[np.int32]
    reason: NDArray[np.int16]
    moment: NDArray[np.int64]
    prompt: NDArray[np.int32]
    place: NDArray[np.int64]
    length: NDArray[np.int32]
    said: NDArray[np.uint64]
    members: tuple[NDArray[np.int32], NDArray[np.int32]]
    prompts: Prompts

    def __len__(self) -> int:
        return len(self.completion)

    def completions(self, texts: Texts, which: NDArray[np.int64] | None = None) -> Iterator[str]:
        """The text of each row, or of each of these."""
        numbers = np.arange(len(self)) if which is None else which
        for start in range(0, len(numbers), AT_ONCE):
            part = numbers[start : start + AT_ONCE]
            for text in texts.read(self.place[part], self.length[part]):
                yield text.decode("utf-8", "surrogatepass")


def gather(rows: Rows, source: Source, texts: Texts, duplicates: wire.policies.Duplicates) -> tuple[Candidates, int]:
    """The rows with their texts, and how many completions give none because their prompts are more than texts."""
    read = _Read(texts, exact=duplicates.exact)
    carriers = _carried(rows, source, read)
    of = rows.completion
    prompt, place, length, said = carriers[0][of], carriers[1][of], carriers[2][of], carriers[3][of]
    edits = np.flatnonzero((rows.rewrite >= 0) & (prompt >= 0))
    edit = np.zeros(len(rows.rewrite), dtype=np.uint64)
    for start in range(0, len(edits), AT_ONCE):
        part = edits[start : start + AT_ONCE]
        found = source.edited(sorted(set(rows.rewrite[part].tolist())))
        edited = [found[position] for position in rows.rewrite[part].tolist()]
        edit[part] = [_head(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()) for text in edited]
        place[part], length[part], said[part] = read.completions(edited, prompt[part])
    usable = prompt >= 0
    number = np.cumsum(usable, dtype=np.int32) - 1
    row, actor = rows.members
    member = usable[row]
    candidates = Candidates(
        ids=rows.ids,
        checkpoint=rows.checkpoint,
        checkpoints=rows.checkpoints,
        reasons=rows.reasons,
        completion=rows.completion[usable],
        edit=edit[usable],
        label=rows.label[usable],
        weight=rows.weight[usable],
        reason=rows.reason[usable],
        moment=rows.moment[usable],
        prompt=prompt[usable],
        place=place[usable],
        length=length[usable],
        said=said[usable],
        members=(number[row[member]], actor[member]),
        prompts=read.prompts(),
    )
    if duplicates.exact:
        candidates = replace(candidates, said=_settled(candidates, texts))
    return candidates, int(np.count_nonzero(~usable & (rows.rewrite < 0)))


_Carried = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32], NDArray[np.uint64]]


def _carried(rows: Rows, source: Source, read: "_Read") -> _Carried:
    """Of each completion: number of its prompt, -1 where that is of no use; place and length of its text; what it
    says."""
    position, carrier, many = rows.position, rows.carrier, len(rows.ids)
    prompt, place = np.full(many, -1, dtype=np.int32), np.zeros(many, dtype=np.int64)
    length, said = np.zeros(many, dtype=np.int32), np.zeros((many, 2), dtype=np.uint64)

    def take(numbers: NDArray[np.int64], prompts: Sequence[str], completions: Sequence[str]) -> None:
        of = prompt[numbers] = read.prompts_of(prompts)
        usable = of >= 0
        if not usable.all():
            numbers, of = numbers[usable], of[usable]
            completions = list(compress(completions, usable.tolist()))
        place[numbers], length[numbers], said[numbers] = read.completions(completions, of)

    key = position * len(CARRIERS) + carrier
    order = np.argsort(key)
    key = key[order]
    for batch in source.carried():
        wanted = pl.Series(batch["position"]).to_numpy() * len(CARRIERS) + pl.Series(batch["carrier"]).to_numpy()
        found = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
        hits = np.flatnonzero(key[found] == wanted) if len(key) else np.empty(0, dtype=np.int64)
        chosen = batch.take(pl.Series(hits).to_arrow())
        take(order[found[hits]], chosen["prompt"].to_pylist(), chosen["completion"].to_pylist())
    sides = np.flatnonzero(carrier == CARRIERS.index("rejected"))
    for start in range(0, len(sides), AT_ONCE):
        part = sides[start : start + AT_ONCE]
        texts = source.rejected(position[part].tolist())
        told = [texts[one] for one in position[part].tolist()]
        take(part, [one for one, _ in told], [other for _, other in told])
    return prompt, place, length, said


class _Read:
    """Texts as they come: put on disk, and turned into numbers and keys."""

    def __init__(self, texts: Texts, *, exact: bool) -> None:
        self._texts = texts
        self._exact = exact
        self._as_sent: dict[str, int] = {}
        self._numbers: dict[bytes, int] = {}
        self._keys: list[bytes] = []
        self._digests: list[bytes] = []
        self._places: list[tuple[int, int, bool]] = []

    def prompts_of(self, sent: Sequence[str]) -> NDArray[np.int32]:
        """Their numbers; -1 where a message is more than a text: the shards have no columns for that."""
        known = self._as_sent
        numbers = np.empty(len(sent), dtype=np.int32)
        for place, one in enumerate(sent):
            number = known.get(one)
            if number is None:
                if len(known) >= REMEMBERED:
                    known.clear()
                number = known[one] = self._new(msgspec.json.decode(one))
            numbers[place] = number
        return numbers

    def _new(self, prompt: str | list[dict[str, Any]]) -> int:
        if isinstance(prompt, str):
            said = prompt.encode("utf-8", "surrogatepass")
        elif any(message.keys() != {"role", "content"} for message in prompt):
            return -1
        else:
            said = json.dumps(prompt, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
        digest = _digest(b"text" if isinstance(prompt, str) else b"chat", said)
        number = self._numbers.setdefault(digest, len(self._keys))
        if number == len(self._keys):
            self._keys.append(key_of(group_of(prompt)))
            self._digests.append(digest)
            self._places.append((self._texts.keep(said), len(said), not isinstance(prompt, str)))
        return number

    def completions(
        self, texts: Sequence[str], prompts: NDArray[np.int32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint64]]:
        """Of texts and the numbers of their prompts: places, lengths, and what stands for what both say."""
        sent = [text.encode("utf-8", "surrogatepass") for text in texts]
        if self._exact:
            keys = [self._keys[prompt] for prompt in prompts.tolist()]
            said = [_digest(key, _alike(text)) for key, text in zip(keys, texts, strict=True)]
        else:
            keys = [self._digests[prompt] for prompt in prompts.tolist()]
            said = [_digest(key, text) for key, text in zip(keys, sent, strict=True)]
        length = np.array([len(one) for one in sent], dtype=np.int32)
        start = self._texts.keep(b"".join(sent))
        place = start + np.cumsum(length, dtype=np.int64) - length
        return place, length, np.frombuffer(b"".join(said), dtype=np.uint64).reshape(-1, 2)

    def prompts(self) -> Prompts:
        return Prompts(
            key=np.frombuffer(b"".join(self._keys), dtype=np.uint64).reshape(-1, 2),
            place=np.array([place for place, _, _ in self._places], dtype=np.int64),
            length=np.array([length for _, length, _ in self._places], dtype=np.int32),
            chat=np.array([chat for _, _, chat in self._places], dtype=bool),
        )


def _alike(text: str) -> bytes:
    """The same for texts that say the same; for few others. To say for sure takes several times as long."""
    end = normalised(text[-END:])
    if len(text) <= END or len(end) < 2 * COMPARED:
        end = normalised(text)
    return end[-COMPARED:].encode("utf-8", "surrogatepass")


def _settled(candidates: "Candidates", texts: Texts) -> NDArray[np.uint64]:
    """`said` where what looks the same was compared whole."""
    number = numbered(candidates.said)
    several = np.flatnonzero(np.bincount(number)[number] > 1)
    said = candidates.said.copy()
    keys = candidates.prompts.key[candidates.prompt[several]]
    for start in range(0, len(several), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        digests = [
            _digest(b"whole", key.tobytes(), normalised(text).encode("utf-8", "surrogatepass"))
            for key, text in zip(keys[part], candidates.completions(texts, several[part]), strict=True)
        ]
        said[several[part]] = np.frombuffer(b"".join(digests), dtype=np.uint64).reshape(-1, 2)
    return said


def _head(digest: bytes) -> int:
    """The number that the first 16 hexadecimal digits of the digest are."""
    return int.from_bytes(digest[:8], "big")


def _digest(*parts: bytes) -> bytes:
    return hashlib.blake2b(b"".join(parts), digest_size=KEY).digest()


def numbered(keys: NDArray[np.uint64]) -> NDArray[np.int32]:
    """(N, 2) keys as numbers from 0, the same for the same key."""
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    new = np.ones(len(keys), dtype=bool)
    new[1:] = (keys[order[1:]] != keys[order[:-1]]).any(axis=1)
    numbers = np.empty(len(keys), dtype=np.int32)
    numbers[order] = np.cumsum(new, dtype=np.int32) - 1
    return numbers
