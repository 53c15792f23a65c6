"""Makes candidates of labels and the texts of the log. Pure except for the files of columns and texts."""

import hashlib
from collections import Counter
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

from app.feedback.reading.carriers import CARRIERS
from app.labels.guards.text import normalised
from app.labels.whole_log.events import id_hash
from app.snapshots.selection.candidates import Candidates
from app.snapshots.selection.kept_spans import put_kept_spans
from app.snapshots.selection.labelled_rows import LabelledRows
from app.snapshots.selection.text_keys import AT_ONCE, UNUSABLE, TextCollector, digest, encoded, numbered
from app.spill.arrays import SpilledColumns
from app.spill.texts import SpilledTexts

Integer = TypeVar("Integer", bound=np.integer[Any])


class TextSource(Protocol):
    """A source of texts: the log."""

    def carried(self) -> Iterable[pa.RecordBatch]: ...

    def rejected(self, positions: Sequence[int]) -> Mapping[int, tuple[str, str]]: ...

    def edited(self, positions: Sequence[int]) -> Mapping[int, str]: ...


@dataclass(frozen=True)
class KeptRows:
    """Rows on disk, without their texts. The names are sorted."""

    columns: SpilledColumns
    checkpoints: Sequence[str]
    reasons: Sequence[str]


def gather(
    rows: KeptRows,
    source: TextSource,
    texts: SpilledTexts,
    duplicates: wire.guard_rules.Duplicates,
    *,
    kept_spans: bool = False,
) -> tuple[Candidates, Counter[str]]:
    """Returns the candidates, which are the rows with their texts, and the numbers of completions that are left out by
    the reason why their prompts are unusable: see `text_keys.UNUSABLE`. `kept_spans`: whether edits are compared with
    their originals.

    The columns of `rows` become the columns of the candidates.
    """
    columns = rows.columns
    read = TextCollector(texts, exact=duplicates.exact)
    carried = _carried(columns, source, read)
    for name in ("writer log prob", "message place", "message length"):
        if name in carried:
            columns.put(name, carried.pop(name))
    columns.drop("position", "carrier")
    of, rewrite = columns.read("completion"), columns.read("rewrite")
    prompt = carried.pop("prompt")[of]  # numbers in the order of arrival, until all have arrived
    usable = prompt >= 0
    edits = np.flatnonzero((rewrite >= 0) & usable)
    left_out = prompt[~usable & (rewrite < 0) & columns.read("judged")]
    drops = Counter({reason: int(np.count_nonzero(left_out == -1 - code)) for code, reason in enumerate(UNUSABLE)})
    del left_out
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
    count = int(np.count_nonzero(usable))
    candidates = Candidates(columns, count, rows.checkpoints, rows.reasons, prompts)
    if kept_spans:
        put_kept_spans(columns, candidates, source, texts)
    columns.drop("edited row", "edit position")
    if duplicates.exact:
        columns.put("said", _settled(candidates, texts))
    return candidates, drops


def keep(parts: Iterable[LabelledRows], near: Path | None) -> KeptRows:
    """Stores the rows of all parts in columns on the disk of `near`, and returns them."""
    columns = SpilledColumns(near)
    names: tuple[dict[str, int], dict[str, int]] = ({}, {})
    completions, labels = 0, 0
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
        columns.append("member row", row + np.int32(labels))
        columns.append("member actor", actor)
        edited, position = rows.edits
        columns.append("edited row", edited + np.int32(labels))
        columns.append("edit position", position)
        columns.append("compared completion", rows.compared.completion + np.int32(completions))
        columns.append("compared other", rows.compared.other)
        columns.append("compared votes", rows.compared.votes)
        completions, labels = completions + len(rows.ids), labels + len(rows.label)
    for name, known in zip(("checkpoint", "reason"), names, strict=True):
        # Numbers follow the names, so that they do not depend on how the rows came in parts.
        number = columns.read(name)
        order = sorted(known)
        ranks = np.empty(len(known) + 1, dtype=number.dtype)
        ranks[[*(known[each] for each in order), -1]] = [*range(len(known)), -1]
        columns.put(name, ranks[number])
    return KeptRows(columns, sorted(names[0]), sorted(names[1]))


def _renamed(number: NDArray[Integer], names: Sequence[str], known: dict[str, int]) -> NDArray[Integer]:
    """Returns indices in `names` as numbers in `known`, and adds new names to it; -1 stays."""
    numbers = [known.setdefault(name, len(known)) for name in names]
    return np.array([*numbers, -1], dtype=number.dtype)[number]


def _edited(
    rewrite: NDArray[np.int64], prompt: NDArray[np.int32], source: TextSource, read: TextCollector
) -> tuple[NDArray[np.uint64], dict[str, NDArray[Any]]]:
    """Returns 64 bits of the hash of each edited text, and its offset, length and key."""
    count = len(rewrite)
    edit = np.zeros(count, dtype=np.uint64)
    offset, length = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int32)
    key = np.zeros((count, 2), dtype=np.uint64)
    for start in range(0, count, AT_ONCE):
        part = slice(start, start + AT_ONCE)
        texts = source.edited(sorted(set(rewrite[part].tolist())))
        edited = [encoded(texts[position]) for position in rewrite[part].tolist()]
        edit[part] = [_head(hashlib.sha256(text).digest()) for text in edited]
        offset[part], length[part], key[part] = read.completions(edited, prompt[part])
    return edit, {"place": offset, "length": length, "said": key}


def _leave_out(columns: SpilledColumns, usable: NDArray[np.bool_]) -> None:
    """Removes rows whose prompts are unusable."""
    for name in ("completion", "judged", "label", "weight", "reason", "moment"):
        columns.put(name, columns.read(name)[usable])
    number = np.cumsum(usable, dtype=np.int32) - 1
    row, actor = columns.read("member row"), columns.read("member actor")
    member = usable[row]
    columns.put("member row", number[row[member]])
    columns.put("member actor", actor[member])
    row, position = columns.read("edited row"), columns.read("edit position")
    stays = usable[row]
    columns.put("edited row", number[row[stays]])
    columns.put("edit position", position[stays])


def _carried(columns: SpilledColumns, source: TextSource, read: TextCollector) -> dict[str, NDArray[Any]]:
    """Returns columns with a value for each completion: `prompt`, the number of its prompt, negative for an unusable
    one; `place` and `length`, the offset and the bytes of its text; `said`, the key of its text; if any has one,
    `writer log prob`, NaN for the others; if any is a message of more than a text, `message place` and `message length`
    of its JSON text, -1 for the others."""
    position, carrier = columns.read("position"), columns.read("carrier")
    count = len(position)
    prompt, place = np.full(count, -1, dtype=np.int32), np.zeros(count, dtype=np.int64)
    length, said = np.zeros(count, dtype=np.int32), np.zeros((count, 2), dtype=np.uint64)
    columns_of_some: dict[str, NDArray[Any]] = {}

    def take(
        numbers: NDArray[np.int32],
        prompts: Sequence[bytes],
        completions: Sequence[bytes],
        messages: Sequence[bytes | None] = (),
    ) -> None:
        of = read.prompts_of(prompts)
        places, unusable = read.messages(messages)
        for index, reason in unusable.items():
            of[index] = reason
        for index, stored in places.items():
            for name, value in zip(("message place", "message length"), stored, strict=True):
                values = columns_of_some.setdefault(name, np.full(count, -1, dtype=np.int64))
                values[numbers[index]] = value
        prompt[numbers] = of
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
        index = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
        hits = np.flatnonzero(key[index] == wanted) if len(key) else np.empty(0, dtype=np.int64)
        chosen = batch.take(pl.Series(hits).to_arrow())
        named = [name for name in ("prompt", "completion", "message") if name in chosen.schema.names]
        columns_of_texts = (
            chosen[name].cast(pa.binary()).to_pylist() if chosen[name].null_count < len(chosen) else ()
            for name in named
        )
        take(order[index[hits]], *columns_of_texts)
        if "writer_log_prob" in chosen.schema.names and chosen["writer_log_prob"].null_count < len(chosen):
            means = columns_of_some.setdefault("writer log prob", np.full(count, np.nan))
            means[order[index[hits]]] = chosen["writer_log_prob"].to_numpy(zero_copy_only=False)
    for start in range(0, len(sides), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        texts = source.rejected(not_preferred[part])
        pairs = [texts[each] for each in not_preferred[part]]
        take(sides[part], [encoded(prompt) for prompt, _ in pairs], [encoded(completion) for _, completion in pairs])
    return {"prompt": prompt, "place": place, "length": length, "said": said, **columns_of_some}


def _link(columns: SpilledColumns) -> None:
    """Replaces the columns that name compared completions by `compared`, (E, 2) numbers of their candidates; drops
    comparisons with a completion that has no candidate."""
    first, other, votes = (columns.read(f"compared {name}") for name in ("completion", "other", "votes"))
    pairs = np.empty((0, 2), dtype=np.int32)
    if len(first):
        ids = id_hash(columns.strings("id"))
        order = np.argsort(ids)
        index = np.minimum(np.searchsorted(ids, other, sorter=order), len(ids) - 1)
        there = ids[order[index]] == other
        own = np.full(len(ids), -1, dtype=np.int32)
        completion = columns.read("completion")
        itself = np.flatnonzero(columns.read("edit") == 0).astype(np.int32)
        own[completion[itself]] = itself
        pairs = np.stack([own[first], np.where(there, own[order[index]], np.int32(-1))], axis=1)
        both = (pairs >= 0).all(axis=1)
        pairs, votes = pairs[both], votes[both]
    columns.drop("compared completion", "compared other")
    columns.put("compared", pairs)
    columns.put("compared votes", votes)


def _settled(candidates: Candidates, texts: SpilledTexts) -> NDArray[np.uint64]:
    """Returns `said` after a comparison of the whole texts whose keys are equal."""
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
    """Returns the first 8 bytes of the digest as a number."""
    return int.from_bytes(digest[:8], "big")
