"""All rows that a snapshot could have: what was labelled, and what was written in place of it, with its texts on disk.
Pure but for the file of texts.

Legend: N rows, P different prompts, C completions that something was said of.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from thumbwheel import wire

from app.labels.guards.text import normalised
from app.labels.policy import EDITED_TEXT
from app.labels.reading import CARRIERS
from app.labels.sets import Labelled
from app.snapshots.split import group_of, key_of
from app.snapshots.texts import Texts

KEY = 16  # bytes
#: Texts that are asked for one by one, at a time.
AT_ONCE = 4096
#: Different prompts that are remembered by what they were sent as.
REMEMBERED = 200_000


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

    completion  number of its completion in `ids`, whose checkpoint is in `checkpoints`
    edit        of a text that was written in place of it: 16 hexadecimal digits; else nothing
    weight      thousandths
    reason      number in `reasons`
    moment      of the newest signal that made it, µs since 1970
    prompt      number in `prompts`
    place, length  of the completion's text
    said        (N, 2) the same for rows whose prompt and completion say the same
    members     (row, actor) of each actor on its winning side; actors are numbered by their ids
    """

    ids: pa.Array
    checkpoints: pa.Array
    reasons: Sequence[str]
    completion: NDArray[np.int32]
    edit: NDArray[np.bytes_]
    label: NDArray[np.bool_]
    weight: NDArray[np.int32]
    reason: NDArray[np.int16]
    moment: NDArray[np.int64]
    prompt: NDArray[np.int32]
    place: NDArray[np.int64]
    length: NDArray[np.int32]
    said: NDArray[np.uint64]
    members: tuple[NDArray[np.int64], NDArray[np.int64]]
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


def gather(
    labelled: Labelled,
    source: Source,
    texts: Texts,
    duplicates: wire.policies.Duplicates,
    *,
    checkpoint_id: str | None = None,
) -> tuple[Candidates, Counter[str]]:
    """The rows, and how many completions give none, by the reason.

    checkpoint_id  only completions of this checkpoint
    """
    rows, drops = _labelled(labelled, checkpoint_id)
    read = _Read(texts, exact=duplicates.exact)
    carriers = _carried(labelled.completions, rows, source, read)
    of = rows.carrier
    prompt, place, length, said = carriers[0][of], carriers[1][of], carriers[2][of], carriers[3][of]
    edits = np.flatnonzero(rows.rewrite >= 0)
    edit = np.zeros(len(rows.rewrite), dtype="S16")
    for start in range(0, len(edits), AT_ONCE):
        part = edits[start : start + AT_ONCE]
        found = source.edited(sorted(set(rows.rewrite[part].tolist())))
        for row in part.tolist():
            text = found[int(rows.rewrite[row])]
            edit[row] = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16].encode()
            place[row], length[row], said[row] = read.completion(text, int(prompt[row]))
    usable = prompt >= 0
    drops["tool_calls"] += int(np.count_nonzero(~usable & (rows.rewrite < 0)))
    number = np.cumsum(usable) - 1
    row, actor = rows.members
    member = usable[row]
    # Actors by their ids: sums in the order of who came first would differ in the last digit.
    rank = np.empty(len(labelled.actors), dtype=np.int64)
    rank[labelled.actors.arg_sort().to_numpy()] = np.arange(len(rank))
    candidates = Candidates(
        ids=labelled.completions["completion_id"].to_arrow(),
        checkpoints=labelled.completions["checkpoint_id"].to_arrow(),
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
        members=(number[row[member]], rank[actor[member]]),
        prompts=read.prompts(),
    )
    return candidates, drops


@dataclass(frozen=True)
class _Rows:
    """What labels say of the rows. `rewrite`: position of the edit whose text it is, -1 for the completion itself.
    `carrier`: number among the completions with rows."""

    reasons: Sequence[str]
    completion: NDArray[np.int32]
    rewrite: NDArray[np.int64]
    label: NDArray[np.bool_]
    weight: NDArray[np.int32]
    reason: NDArray[np.int16]
    moment: NDArray[np.int64]
    carrier: NDArray[np.int64]
    members: tuple[NDArray[np.int64], NDArray[np.int64]]


def _labelled(labelled: Labelled, checkpoint_id: str | None) -> tuple[_Rows, Counter[str]]:
    completions = labelled.completions
    wanted = np.ones(len(completions), dtype=bool)
    if checkpoint_id is not None:
        wanted = (completions["checkpoint_id"] == checkpoint_id).fill_null(value=False).to_numpy()
    label = completions["label"]
    has_label, known = label.is_not_null().to_numpy(), completions["known"].to_numpy()
    never = completions["never_train"].to_numpy()
    nothing = completions["reason"].filter(pl.Series(wanted & ~has_label)).value_counts()
    drops = Counter(dict(zip(nothing["reason"].cast(pl.String).to_list(), nothing["count"].to_list(), strict=True)))
    drops["unknown_text"] = int(np.count_nonzero(wanted & has_label & ~known))
    drops["never_train"] = int(np.count_nonzero(wanted & has_label & known & never))

    usable = wanted & known & ~never
    own = np.flatnonzero(usable & has_label)
    rewrites = labelled.rewrites.filter(pl.Series(usable).gather(labelled.rewrites["completion"]))
    names = completions["reason"].gather(own).cast(pl.String)
    reasons = [*sorted(names.unique().to_list()), EDITED_TEXT]
    numbers = {name: number for number, name in enumerate(reasons)}
    codes = names.replace_strict(numbers, return_dtype=pl.Int16).to_numpy()

    labels = label.fill_null(value=False).to_numpy()
    votes = labelled.votes
    about = votes["completion"].to_numpy().astype(np.int64)
    place = np.full(len(completions), -1)
    place[own] = np.arange(len(own))
    won = (votes["desirable"].to_numpy() == labels[about]) & (place[about] >= 0)
    moment = np.zeros(len(own), dtype=np.int64)
    np.maximum.at(moment, place[about[won]], votes["moment"].to_physical().to_numpy()[won])
    each = rewrites["actors"].list.len().to_numpy()
    completion = np.concatenate([own, rewrites["completion"].to_numpy()]).astype(np.int32)
    of_rewrites = np.repeat(len(own) + np.arange(len(rewrites)), each)
    return _Rows(
        reasons=reasons,
        completion=completion,
        rewrite=np.concatenate([np.full(len(own), -1), rewrites["position"].to_numpy()]),
        label=np.concatenate([labels[own], np.ones(len(rewrites), dtype=bool)]),
        weight=np.concatenate([completions["weight"].to_numpy()[own], rewrites["weight"].to_numpy()]),
        reason=np.concatenate([codes, np.full(len(rewrites), numbers[EDITED_TEXT], dtype=np.int16)]),
        moment=np.concatenate([moment, rewrites["moment"].to_numpy()]),
        carrier=np.unique(completion, return_inverse=True)[1],
        members=(
            np.concatenate([place[about[won]], of_rewrites]),
            np.concatenate([votes["actor"].to_numpy()[won], rewrites["actors"].explode().to_numpy()]).astype(np.int64),
        ),
    ), drops


_Carried = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32], NDArray[np.uint64]]


def _carried(completions: pl.DataFrame, rows: _Rows, source: Source, read: "_Read") -> _Carried:
    """Of each completion with rows: number of its prompt, -1 where that is of no use; place and length of its text;
    what it says."""
    which = np.unique(rows.completion)
    position = completions["position"].to_numpy()[which]
    carrier = completions["carrier"].to_numpy()[which].astype(np.int64)
    prompt, place = np.full(len(which), -1, dtype=np.int32), np.zeros(len(which), dtype=np.int64)
    length, said = np.zeros(len(which), dtype=np.int32), np.zeros((len(which), 2), dtype=np.uint64)

    def take(number: int, prompt_text: str, text: str) -> None:
        prompt[number] = read.prompt(prompt_text)
        if prompt[number] >= 0:
            place[number], length[number], said[number] = read.completion(text, int(prompt[number]))

    key = position * len(CARRIERS) + carrier
    order = np.argsort(key)
    for batch in source.carried():
        wanted = batch["position"].to_numpy() * len(CARRIERS) + batch["carrier"].to_numpy()
        found = np.minimum(np.searchsorted(key, wanted, sorter=order), len(order) - 1)
        hits = np.flatnonzero(key[order[found]] == wanted) if len(order) else np.empty(0, dtype=np.int64)
        chosen = batch.take(pa.array(hits))
        for number, one, other in zip(
            order[found[hits]].tolist(), chosen["prompt"].to_pylist(), chosen["completion"].to_pylist(), strict=True
        ):
            take(number, one, other)
    sides = np.flatnonzero(carrier == CARRIERS.index("rejected"))
    for start in range(0, len(sides), AT_ONCE):
        part = sides[start : start + AT_ONCE]
        texts = source.rejected(position[part].tolist())
        for number in part.tolist():
            take(number, *texts[int(position[number])])
    return prompt, place, length, said


class _Read:
    """Texts as they come: put on disk, and turned into numbers and keys."""

    def __init__(self, texts: Texts, *, exact: bool) -> None:
        self._texts = texts
        self._exact = exact
        self._as_sent: dict[bytes, int] = {}
        self._numbers: dict[bytes, int] = {}
        self._keys: list[bytes] = []
        self._digests: list[bytes] = []
        self._places: list[tuple[int, int, bool]] = []

    def prompt(self, sent: str) -> int:
        """Its number; -1 where a message is more than a text: the shards have no columns for that."""
        digest = _digest(sent.encode("utf-8", "surrogatepass"))
        number = self._as_sent.get(digest)
        if number is None:
            if len(self._as_sent) >= REMEMBERED:
                self._as_sent.clear()
            number = self._as_sent[digest] = self._new(msgspec.json.decode(sent))
        return number

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

    def completion(self, text: str, prompt: int) -> tuple[int, int, NDArray[np.uint64]]:
        """Place, length, and what stands for what prompt and completion say."""
        sent = text.encode("utf-8", "surrogatepass")
        if self._exact:
            said = _digest(self._keys[prompt], normalised(text).encode("utf-8", "surrogatepass"))
        else:
            said = _digest(self._digests[prompt], sent)
        return self._texts.keep(sent), len(sent), np.frombuffer(said, dtype=np.uint64)

    def prompts(self) -> Prompts:
        return Prompts(
            key=np.frombuffer(b"".join(self._keys), dtype=np.uint64).reshape(-1, 2),
            place=np.array([place for place, _, _ in self._places], dtype=np.int64),
            length=np.array([length for _, length, _ in self._places], dtype=np.int32),
            chat=np.array([chat for _, _, chat in self._places], dtype=bool),
        )


def _digest(*parts: bytes) -> bytes:
    return hashlib.blake2b(b"".join(parts), digest_size=KEY).digest()


def numbered(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """(N, 2) keys as numbers from 0, the same for the same key."""
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    new = np.ones(len(keys), dtype=bool)
    new[1:] = (keys[order[1:]] != keys[order[:-1]]).any(axis=1)
    numbers = np.empty(len(keys), dtype=np.int64)
    numbers[order] = np.cumsum(new) - 1
    return numbers
