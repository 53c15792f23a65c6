"""All rows that a snapshot could have: what was labelled, and what was written in place of it, with its texts on disk.
Pure but for the file of texts.

Legend: N rows, P different prompts, C completions that something was said of.
"""

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from thumbwheel import wire

from app.labels.guards.text import normalised
from app.labels.reading import CARRIERS
from app.snapshots.columns import Columns
from app.snapshots.rows import Rows
from app.snapshots.split import group_of, key_of
from app.snapshots.texts import Texts

Integer = TypeVar("Integer", bound=np.integer[Any])
KEY = 16  # bytes
#: Texts that are asked for one by one, at a time.
AT_ONCE = 4096
#: Different prompts that are remembered.
REMEMBERED = 50_000
#: Characters at the end of a text that are looked at first, to find out which texts may say the same; and how many of
#: them, once normalised, are compared: fewer, as what is cut off may change those at the cut.
END, COMPARED = 96, 32
#: A character of UTF-8 has so many bytes at most; those that are no first ones.
MOST_BYTES, CONTINUED = 4, bytes(range(0x80, 0xC0))


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

    def groups(self, texts: Texts, which: NDArray[np.integer[Any]] | None = None) -> Iterator[str]:
        """What each prompt says, or each of these; see `split.group_of`."""
        numbers = np.arange(len(self.key)) if which is None else which
        for start in range(0, len(numbers), AT_ONCE):
            part = numbers[start : start + AT_ONCE]
            said = texts.read(self.place[part], self.length[part])
            for text, chat in zip(said, self.chat[part].tolist(), strict=True):
                yield group_of(msgspec.json.decode(text) if chat else text.decode("utf-8", "surrogatepass"))


@dataclass(frozen=True)
class Candidates:
    """N rows; what is known of them is on disk, and read anew each time that it is asked for."""

    columns: Columns
    rows: int
    checkpoints: Sequence[str]
    reasons: Sequence[str]
    prompts: Prompts

    def __len__(self) -> int:
        return self.rows

    @property
    def ids(self) -> pa.Array:
        """(C,) of the completions."""
        return self.columns.strings("id")

    @property
    def rank(self) -> NDArray[np.int32]:
        """(C,) place of each id among all, in order."""
        return self.columns.read("rank")

    @property
    def checkpoint(self) -> NDArray[np.int32]:
        """(C,) number in `checkpoints`, -1 for none."""
        return self.columns.read("checkpoint")

    @property
    def completion(self) -> NDArray[np.int32]:
        """(N,) number of its completion."""
        return self.columns.read("completion")

    @property
    def edit(self) -> NDArray[np.uint64]:
        """(N,) of a text that was written in place of its completion: 64 bits of its hash; else 0."""
        return self.columns.read("edit")

    @property
    def label(self) -> NDArray[np.bool_]:
        """(N,)."""
        return self.columns.read("label")

    @property
    def weight(self) -> NDArray[np.int32]:
        """(N,) thousandths."""
        return self.columns.read("weight")

    @property
    def reason(self) -> NDArray[np.int16]:
        """(N,) number in `reasons`."""
        return self.columns.read("reason")

    @property
    def moment(self) -> NDArray[np.int64]:
        """(N,) of the newest signal that made it, µs since 1970."""
        return self.columns.read("moment")

    @property
    def prompt(self) -> NDArray[np.int32]:
        """(N,) number in `prompts`."""
        return self.columns.read("prompt")

    @property
    def place(self) -> NDArray[np.int64]:
        """(N,) of the completion's text, which is `length` bytes long."""
        return self.columns.read("place")

    @property
    def length(self) -> NDArray[np.int32]:
        return self.columns.read("length")

    @property
    def said(self) -> NDArray[np.uint64]:
        """(N, 2) the same for rows whose prompt and completion say the same."""
        return self.columns.read("said")

    @property
    def members(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """(row, actor) of each actor on its winning side; actors are numbered by their ids."""
        return self.columns.read("member row"), self.columns.read("member actor")

    def completions(self, texts: Texts, which: NDArray[np.integer[Any]] | None = None) -> Iterator[str]:
        """The text of each row, or of each of these."""
        place, length = self.place, self.length
        if which is not None:
            place, length = place[which], length[which]
        for start in range(0, len(place), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            for text in texts.read(place[part], length[part]):
                yield text.decode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class KeptRows:
    """Rows on disk, still without their texts. The names are sorted."""

    columns: Columns
    checkpoints: Sequence[str]
    reasons: Sequence[str]


def gather(
    rows: KeptRows, source: Source, texts: Texts, duplicates: wire.policies.Duplicates
) -> tuple[Candidates, int]:
    """The rows with their texts, and how many completions give none because their prompts are more than texts.

    The columns of `rows` are those of the candidates afterwards.
    """
    columns = rows.columns
    read = _Read(texts, exact=duplicates.exact)
    carried = _carried(columns, source, read)
    columns.drop("position", "carrier")
    of, rewrite = columns.read("completion"), columns.read("rewrite")
    prompt = carried.pop("prompt")[of]  # as they came, until all have
    usable = prompt >= 0
    edits = np.flatnonzero((rewrite >= 0) & usable)
    tool_calls = int(np.count_nonzero(~usable & (rewrite < 0)))
    edit, written = _edited(rewrite[edits], prompt[edits], source, read)
    columns.drop("rewrite")
    del rewrite
    prompts, number = read.prompts()
    columns.put("prompt", number[prompt[usable]])
    del prompt, number
    for name, from_edits in written.items():
        values = carried.pop(name)[of]
        values[edits] = from_edits
        columns.put(name, values[usable])
    edited = np.zeros(len(of), dtype=np.uint64)
    edited[edits] = edit
    columns.put("edit", edited[usable])
    if not usable.all():
        _leave_out(columns, usable)
    columns.put("rank", _ranks(columns.strings("id")))
    many = int(np.count_nonzero(usable))
    candidates = Candidates(columns, many, rows.checkpoints, rows.reasons, prompts)
    if duplicates.exact:
        columns.put("said", _settled(candidates, texts))
    return candidates, tool_calls


def keep(parts: Iterable[Rows], near: Path | None) -> KeptRows:
    """The rows of all parts, on the disk of `near`."""
    columns = Columns(near)
    names: tuple[dict[str, int], dict[str, int]] = ({}, {})
    completions, many = 0, 0
    for rows in parts:
        columns.append_strings("id", rows.ids)
        columns.append("position", rows.position)
        columns.append("carrier", rows.carrier)
        columns.append("completion", rows.completion + np.int32(completions))
        for name in ("rewrite", "label", "weight", "moment"):
            columns.append(name, getattr(rows, name))
        columns.append("checkpoint", _renamed(rows.checkpoint, rows.checkpoints, names[0]))
        columns.append("reason", _renamed(rows.reason, rows.reasons, names[1]))
        row, actor = rows.members
        columns.append("member row", row + np.int32(many))
        columns.append("member actor", actor)
        completions, many = completions + len(rows.ids), many + len(rows.label)
    for name, known in zip(("checkpoint", "reason"), names, strict=True):
        # In whatever parts they came: by their names.
        number = columns.read(name)
        order = sorted(known)
        ranks = np.empty(len(known) + 1, dtype=number.dtype)
        ranks[[*(known[one] for one in order), -1]] = [*range(len(known)), -1]
        columns.put(name, ranks[number])
    return KeptRows(columns, sorted(names[0]), sorted(names[1]))


def _renamed(number: NDArray[Integer], told: Sequence[str], known: dict[str, int]) -> NDArray[Integer]:
    """Numbers in `told` as numbers in `known`, which gets those that are new; -1 stays."""
    here = [known.setdefault(one, len(known)) for one in told]
    return np.array([*here, -1], dtype=number.dtype)[number]


def _edited(
    rewrite: NDArray[np.int64], prompt: NDArray[np.int32], source: Source, read: "_Read"
) -> tuple[NDArray[np.uint64], dict[str, NDArray[Any]]]:
    """Of texts that were written in place of completions: 64 bits of each one's hash, and its place, length and key."""
    many = len(rewrite)
    edit = np.zeros(many, dtype=np.uint64)
    place, length = np.zeros(many, dtype=np.int64), np.zeros(many, dtype=np.int32)
    said = np.zeros((many, 2), dtype=np.uint64)
    for start in range(0, many, AT_ONCE):
        part = slice(start, start + AT_ONCE)
        found = source.edited(sorted(set(rewrite[part].tolist())))
        edited = [_encoded(found[position]) for position in rewrite[part].tolist()]
        edit[part] = [_head(hashlib.sha256(text).digest()) for text in edited]
        place[part], length[part], said[part] = read.completions(edited, prompt[part])
    return edit, {"place": place, "length": length, "said": said}


def _leave_out(columns: Columns, usable: NDArray[np.bool_]) -> None:
    """Rows whose prompts are of no use."""
    for name in ("completion", "label", "weight", "reason", "moment"):
        columns.put(name, columns.read(name)[usable])
    number = np.cumsum(usable, dtype=np.int32) - 1
    row, actor = columns.read("member row"), columns.read("member actor")
    member = usable[row]
    columns.put("member row", number[row[member]])
    columns.put("member actor", actor[member])


def _carried(columns: Columns, source: Source, read: "_Read") -> dict[str, NDArray[Any]]:
    """Of each completion: `prompt`, its number, -1 where that is of no use; `place` and `length` of its text; what it
    says, `said`."""
    position, carrier = columns.read("position"), columns.read("carrier")
    many = len(position)
    prompt, place = np.full(many, -1, dtype=np.int32), np.zeros(many, dtype=np.int64)
    length, said = np.zeros(many, dtype=np.int32), np.zeros((many, 2), dtype=np.uint64)

    def take(numbers: NDArray[np.int32], prompts: Sequence[bytes], completions: Sequence[bytes]) -> None:
        of = prompt[numbers] = read.prompts_of(prompts)
        usable = of >= 0
        if not usable.all():
            numbers, of = numbers[usable], of[usable]
            completions = list(compress(completions, usable.tolist()))
        place[numbers], length[numbers], said[numbers] = read.completions(completions, of)

    sides = np.flatnonzero(carrier == CARRIERS.index("rejected")).astype(np.int32)
    not_preferred = position[sides].tolist()
    key = position * len(CARRIERS) + carrier
    del position, carrier
    order = np.argsort(key).astype(np.int32)
    key.sort()
    for batch in source.carried():
        wanted = pl.Series(batch["position"]).to_numpy() * len(CARRIERS) + pl.Series(batch["carrier"]).to_numpy()
        found = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
        hits = np.flatnonzero(key[found] == wanted) if len(key) else np.empty(0, dtype=np.int64)
        chosen = batch.take(pl.Series(hits).to_arrow())
        said_there = (chosen[name].cast(pa.binary()).to_pylist() for name in ("prompt", "completion"))
        take(order[found[hits]], *said_there)
    for start in range(0, len(sides), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        texts = source.rejected(not_preferred[part])
        told = [texts[one] for one in not_preferred[part]]
        take(sides[part], [_encoded(one) for one, _ in told], [_encoded(other) for _, other in told])
    return {"prompt": prompt, "place": place, "length": length, "said": said}


class _Read:
    """Texts as they come: put on disk, and turned into numbers and keys.

    A prompt that comes again after many others is stored again; `prompts` finds out which ones are the same.
    """

    def __init__(self, texts: Texts, *, exact: bool) -> None:
        self._texts = texts
        self._exact = exact
        self._known: dict[bytes, int] = {}
        self._key, self._digest = bytearray(), bytearray()
        self._place, self._length, self._chat = array("q"), array("i"), bytearray()

    def prompts_of(self, sent: Sequence[bytes]) -> NDArray[np.int32]:
        """Their numbers, for `completions` and `prompts`; -1 where a message is more than a text: the shards have no
        columns for that."""
        known = self._known
        numbers = np.empty(len(sent), dtype=np.int32)
        for place, one in enumerate(sent):
            digest = _digest(one)
            number = known.get(digest)
            if number is None:
                if len(known) >= REMEMBERED:
                    known.clear()
                number = known[digest] = self._new(msgspec.json.decode(one))
            numbers[place] = number
        return numbers

    def _new(self, prompt: str | list[dict[str, Any]]) -> int:
        if isinstance(prompt, str):
            said = _encoded(prompt)
        elif any(message.keys() != {"role", "content"} for message in prompt):
            return -1
        else:
            said = _encoded(json.dumps(prompt, sort_keys=True, ensure_ascii=False))
        self._digest += _digest(b"text" if isinstance(prompt, str) else b"chat", said)
        self._key += key_of(group_of(prompt))
        self._place.append(self._texts.keep(said))
        self._length.append(len(said))
        self._chat.append(not isinstance(prompt, str))
        return len(self._place) - 1

    def completions(
        self, texts: Sequence[bytes], prompts: NDArray[np.int32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint64]]:
        """Of texts and the numbers of their prompts: places, lengths, and what stands for what both say."""
        keys = self._key if self._exact else self._digest
        of_prompts = (bytes(keys[KEY * prompt : KEY * (prompt + 1)]) for prompt in prompts.tolist())
        if self._exact:
            said = [_digest(key, _alike(text)) for key, text in zip(of_prompts, texts, strict=True)]
        else:
            said = [_digest(key, text) for key, text in zip(of_prompts, texts, strict=True)]
        length = np.array([len(one) for one in texts], dtype=np.int32)
        start = self._texts.keep(b"".join(texts))
        place = start + np.cumsum(length, dtype=np.int64) - length
        return place, length, np.frombuffer(b"".join(said), dtype=np.uint64).reshape(-1, 2)

    def prompts(self) -> tuple[Prompts, NDArray[np.int32]]:
        """The different ones, and which of them each number that was given stands for."""
        number = numbered(np.frombuffer(self._digest, dtype=np.uint64).reshape(-1, 2))
        first = np.empty(int(number.max(initial=-1)) + 1, dtype=np.int32)
        first[number[::-1]] = np.arange(len(number), dtype=np.int32)[::-1]
        prompts = Prompts(
            key=np.frombuffer(self._key, dtype=np.uint64).reshape(-1, 2)[first],
            place=np.frombuffer(self._place, dtype=np.int64)[first],
            length=np.frombuffer(self._length, dtype=np.int32)[first],
            chat=np.frombuffer(self._chat, dtype=bool)[first],
        )
        return prompts, number


def _alike(text: bytes) -> bytes:
    """The same for texts that say the same; for few others. To say for sure takes several times as long."""
    if len(text) > MOST_BYTES * END:
        end = normalised(_decoded(text[-MOST_BYTES * END :])[-END:])
        if len(end) >= 2 * COMPARED:
            return _encoded(end[-COMPARED:])
    return _encoded(normalised(_decoded(text))[-COMPARED:])


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _decoded(text: bytes) -> str:
    """UTF-8 that may begin within a character, which is left out then."""
    return text.lstrip(CONTINUED).decode("utf-8", "surrogatepass")


def _settled(candidates: "Candidates", texts: Texts) -> NDArray[np.uint64]:
    """`said` where what looks the same was compared whole."""
    number = numbered(candidates.said)
    several = np.flatnonzero(np.bincount(number)[number] > 1)
    del number
    said, prompt = candidates.said, candidates.prompt[several]
    completions = candidates.completions(texts, several)
    for start in range(0, len(several), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        digests = [
            _digest(b"whole", key.tobytes(), _encoded(normalised(text)))
            for key, text in zip(candidates.prompts.key[prompt[part]], completions, strict=False)
        ]
        said[several[part]] = np.frombuffer(b"".join(digests), dtype=np.uint64).reshape(-1, 2)
    return said


def _ranks(ids: pa.Array) -> NDArray[np.int32]:
    rank = np.empty(len(ids), dtype=np.int32)
    rank[pc.array_sort_indices(ids).to_numpy()] = np.arange(len(rank), dtype=np.int32)
    return rank


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
