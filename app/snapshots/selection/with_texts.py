"""From labels and the log's texts to candidates. Pure but for the files of columns and texts."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from thumbwheel import wire

from app.labels.guards.text import normalised
from app.labels.whole_log.events import id_hash
from app.labels.whole_log.read import CARRIERS
from app.snapshots.selection.candidates import Candidates
from app.snapshots.selection.labelled_rows import Rows
from app.snapshots.selection.text_keys import AT_ONCE, Said, digest, encoded, numbered
from app.spill.arrays import Columns
from app.spill.texts import Texts

Integer = TypeVar("Integer", bound=np.integer[Any])


class Source(Protocol):
    """Where the texts are."""

    def carried(self) -> Iterable[pa.RecordBatch]: ...

    def rejected(self, positions: Sequence[int]) -> Mapping[int, tuple[str, str]]: ...

    def edited(self, positions: Sequence[int]) -> Mapping[int, str]: ...


@dataclass(frozen=True)
class KeptRows:
    """Rows on disk, still without their texts. The names are sorted."""

    columns: Columns
    checkpoints: Sequence[str]
    reasons: Sequence[str]


def gather(
    rows: KeptRows, source: Source, texts: Texts, duplicates: wire.guard_rules.Duplicates
) -> tuple[Candidates, int]:
    """The rows with their texts, and how many completions give none because their prompts are more than texts.

    The columns of `rows` are those of the candidates afterwards.
    """
    columns = rows.columns
    read = Said(texts, exact=duplicates.exact)
    carried = _carried(columns, source, read)
    columns.drop("position", "carrier")
    of, rewrite = columns.read("completion"), columns.read("rewrite")
    prompt = carried.pop("prompt")[of]  # as they came, until all have
    usable = prompt >= 0
    edits = np.flatnonzero((rewrite >= 0) & usable)
    tool_calls = int(np.count_nonzero(~usable & (rewrite < 0) & columns.read("judged")))
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
    _link(columns)
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
        for name in ("rewrite", "judged", "label", "weight", "moment"):
            columns.append(name, getattr(rows, name))
        columns.append("checkpoint", _renamed(rows.checkpoint, rows.checkpoints, names[0]))
        columns.append("reason", _renamed(rows.reason, rows.reasons, names[1]))
        row, actor = rows.members
        columns.append("member row", row + np.int32(many))
        columns.append("member actor", actor)
        columns.append("compared completion", rows.compared.completion + np.int32(completions))
        columns.append("compared other", rows.compared.other)
        columns.append("compared votes", rows.compared.votes)
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
    rewrite: NDArray[np.int64], prompt: NDArray[np.int32], source: Source, read: Said
) -> tuple[NDArray[np.uint64], dict[str, NDArray[Any]]]:
    """Of texts that were written in place of completions: 64 bits of each one's hash, and its place, length and key."""
    many = len(rewrite)
    edit = np.zeros(many, dtype=np.uint64)
    place, length = np.zeros(many, dtype=np.int64), np.zeros(many, dtype=np.int32)
    said = np.zeros((many, 2), dtype=np.uint64)
    for start in range(0, many, AT_ONCE):
        part = slice(start, start + AT_ONCE)
        found = source.edited(sorted(set(rewrite[part].tolist())))
        edited = [encoded(found[position]) for position in rewrite[part].tolist()]
        edit[part] = [_head(hashlib.sha256(text).digest()) for text in edited]
        place[part], length[part], said[part] = read.completions(edited, prompt[part])
    return edit, {"place": place, "length": length, "said": said}


def _leave_out(columns: Columns, usable: NDArray[np.bool_]) -> None:
    """Rows whose prompts are of no use."""
    for name in ("completion", "judged", "label", "weight", "reason", "moment"):
        columns.put(name, columns.read(name)[usable])
    number = np.cumsum(usable, dtype=np.int32) - 1
    row, actor = columns.read("member row"), columns.read("member actor")
    member = usable[row]
    columns.put("member row", number[row[member]])
    columns.put("member actor", actor[member])


def _carried(columns: Columns, source: Source, read: Said) -> dict[str, NDArray[Any]]:
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
        take(sides[part], [encoded(one) for one, _ in told], [encoded(other) for _, other in told])
    return {"prompt": prompt, "place": place, "length": length, "said": said}


def _link(columns: Columns) -> None:
    """Puts the candidates of the completions that were compared in the place of what stands for these: `compared`,
    (E, 2) numbers. Those of which one gives no candidate are gone."""
    one, other, votes = (columns.read(f"compared {name}") for name in ("completion", "other", "votes"))
    pairs = np.empty((0, 2), dtype=np.int32)
    if len(one):
        ids = id_hash(columns.strings("id"))
        order = np.argsort(ids)
        place = np.minimum(np.searchsorted(ids, other, sorter=order), len(ids) - 1)
        there = ids[order[place]] == other
        own = np.full(len(ids), -1, dtype=np.int32)
        completion = columns.read("completion")
        itself = np.flatnonzero(columns.read("edit") == 0).astype(np.int32)
        own[completion[itself]] = itself
        pairs = np.stack([own[one], np.where(there, own[order[place]], np.int32(-1))], axis=1)
        both = (pairs >= 0).all(axis=1)
        pairs, votes = pairs[both], votes[both]
    columns.drop("compared completion", "compared other")
    columns.put("compared", pairs)
    columns.put("compared votes", votes)


def _settled(candidates: Candidates, texts: Texts) -> NDArray[np.uint64]:
    """`said` where what looks the same was compared whole."""
    number = numbered(candidates.said)
    several = np.flatnonzero(np.bincount(number)[number] > 1)
    del number
    said, prompt = candidates.said, candidates.prompt[several]
    completions = candidates.completions(texts, several)
    for start in range(0, len(several), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        digests = [
            digest(b"whole", key.tobytes(), encoded(normalised(text)))
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
