"""Writes the files of a snapshot: parquet shards, pairs, members, manifest and card. The same rows give the same bytes.

The caller writes them into a temporary folder that is flushed and renamed, so a snapshot is complete or not there.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from thumbwheel.chat_messages import messages_of, text_of

from app.durable import flush, sha256_of
from app.prefetch import ahead
from app.snapshots.balance.enough import ClassTally, warnings
from app.snapshots.files.card import card
from app.snapshots.files.index_tables import ids_at, member_tables, pair_tables, row_ids
from app.snapshots.files.kept_column import KeptColumn, KeptFigures
from app.snapshots.files.message_columns import MESSAGES, TOOLS, tools_text
from app.snapshots.files.parquet import (
    CARD,
    GROUP,
    MANIFEST,
    MEMBERS,
    ORIGIN,
    PAIRS,
    parquet,
    shard_schema,
    write_members,
    write_pairs,
)
from app.snapshots.leakage.containment import Answers
from app.snapshots.prompts.split import Split
from app.snapshots.selection.candidates import Candidates, KeptSpans
from app.snapshots.selection.selected_rows import FORMATS, SPLITS, Format, Selection
from app.spill.arrays import SpilledColumns
from app.spill.texts import SpilledTexts, strings


def write_rows(selection: Selection, candidates: Candidates, texts: SpilledTexts, folder: Path) -> dict[str, Any]:
    """Writes the shards, pairs and members. Returns their entries for the manifest."""
    shards: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    places = []
    numbers = _positions(selection)
    answers = Answers()
    log_probs = _has_log_probs(selection, candidates)
    rich = _has_rich_messages(selection, candidates)
    kept, figures = candidates.kept, KeptFigures()
    labelled_rows, alone = len(selection.candidate), selection.for_pairs
    for labelled, split, kind in product((True, False), SPLITS, FORMATS):
        which = (selection if labelled else alone).shard(split, kind).astype(np.int32)
        if not len(which):
            continue
        path = folder / f"{split}-{kind}{'' if labelled else '-for-pairs'}.parquet"
        of_shard = which if labelled else which + labelled_rows
        rows = _Rows(
            kind, of_shard, numbers, selection, candidates, texts,
            log_probs=log_probs, kept=kept if labelled else None, rich=rich,
        )  # fmt: skip
        with parquet(path, rows.schema, dictionaries=["reason", "checkpoint_id"]) as writer:
            for group in ahead(rows.groups()):
                figures.add(split, group)
                if labelled:
                    answers.add(rows.answers_of(group), held_out=split != "train")
                writer.write_table(group, row_group_size=GROUP)
        del rows
        entry = {"path": path.name, "split": split, "format": kind, "rows": len(which), "sha256": sha256_of(path)}
        shards[labelled].append(entry)
        places.append((path.name, which if labelled else which + np.int32(labelled_rows)))
    write_pairs(folder / PAIRS, pair_tables(selection, places))
    write_members(folder / MEMBERS, member_tables(selection, candidates, places))
    return {
        "shards": shards[True],
        "pairs": {
            "path": PAIRS,
            "sha256": sha256_of(folder / PAIRS),
            "train": selection.tallies["train"].pairs,
            "holdout": selection.tallies["holdout"].pairs,
            "sources": {split: selection.pairs_of(split).counts() for split in SPLITS},
            "tied": selection.pairs.tied,
            "shards": shards[False],
        },
        "members": {"path": MEMBERS, "sha256": sha256_of(folder / MEMBERS)},
        "counts": {split: counts_of(selection.tallies[split]) for split in SPLITS},
        "reasons": _reasons(selection, candidates),
        "drops": {reason: count for reason, count in sorted(selection.drops.items()) if count},
        "capped": selection.capped,
        "equal_answers": answers.report(),
        "warnings": warnings(selection.tallies["holdout"]),
        **figures.entry(),
    }


def write_about(manifest: Mapping[str, Any], origin: Mapping[str, Any] | None, folder: Path) -> None:
    """Writes the manifest, the origin and the card. `origin`: None for an older snapshot."""
    _write_text(folder / MANIFEST, canonical(manifest))
    if origin is not None:
        _write_text(folder / ORIGIN, canonical(origin))
    _write_text(folder / CARD, card(manifest, origin))


def canonical(document: Mapping[str, Any]) -> str:
    """Returns the document as JSON with sorted keys, so that equal ones have equal bytes."""
    return json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def counts_of(tally: ClassTally) -> dict[str, float]:
    return {
        "desirable": tally.desirable,
        "undesirable": tally.undesirable,
        "weight_desirable": tally.weight_desirable,
        "weight_undesirable": tally.weight_undesirable,
    }


def _positions(selection: Selection) -> NDArray[np.int32]:
    """Returns each row's place in its split."""
    splits = np.concatenate([selection.split, selection.for_pairs.split])
    position = np.empty(len(splits), dtype=np.int32)
    for split in range(len(SPLITS)):
        of_split = np.flatnonzero(splits == split)
        position[of_split] = np.arange(len(of_split), dtype=np.int32)
    return position


def _has_log_probs(selection: Selection, candidates: Candidates) -> bool:
    """Returns whether the writer's log-prob of any row is known; else the shards have no column for them."""
    means = candidates.writer_log_prob
    if means is None:
        return False
    edit, completion = candidates.edit, candidates.completion
    return any(
        bool((~np.isnan(means[completion[rows]]) & (edit[rows] == 0)).any())
        for rows in (selection.candidate, selection.for_pairs.candidate)
    )


def _has_rich_messages(selection: Selection, candidates: Candidates) -> bool:
    """Returns whether a message of any row has more than role and text; else the shards have no columns for more."""
    rich = candidates.prompts.rich[candidates.prompt]
    if (message := candidates.message) is not None:
        rich |= (message[0][candidates.completion] >= 0) & (candidates.edit == 0)
    return any(bool(rich[rows].any()) for rows in (selection.candidate, selection.for_pairs.candidate))


class _Rows:
    """The rows of one shard as Arrow tables. Their columns are first stored on disk in the order of the rows, so that
    none is in memory while they are written."""

    def __init__(
        self,
        kind: Format,
        rows: NDArray[np.int32],
        position: NDArray[np.int32],
        selection: Selection,
        candidates: Candidates,
        texts: SpilledTexts,
        *,
        log_probs: bool,
        kept: KeptSpans | None,
        rich: bool,
    ) -> None:
        self._kind, self._texts, self._many = kind, texts, len(rows)
        self._reasons = pa.array(candidates.reasons, pa.string())
        self._checkpoints = pa.array([*candidates.checkpoints, None], pa.string())
        self._columns = SpilledColumns(texts.near)
        put = self._columns.put
        alone = selection.for_pairs
        labels = len(selection.label)
        self._labelled = not (rows >= labels).any()
        put("label", selection.label[rows] if self._labelled else np.zeros(len(rows), dtype=bool))
        put("weight", selection.weight[rows] if self._labelled else alone.weight[rows - labels])
        put("position", position[rows].astype(np.int64))
        candidate = selection.candidate[rows] if self._labelled else alone.candidate[rows - labels]
        for name in ("reason", "moment", "edit", "place", "length"):
            put(name, candidates.columns.read(name)[candidate])
        prompt = candidates.prompt[candidate]
        put("prompt place", candidates.prompts.place[prompt])
        put("prompt length", candidates.prompts.length[prompt])
        completion = candidates.completion[candidate]
        # An edited text is no message, and what an edit kept of a message are no characters of its content.
        whole = np.full(len(rows), -1)
        self._messages = candidates.message is not None
        if (message := candidates.message) is not None:
            own = self._columns.read("edit") == 0
            whole = np.where(own, message[0][completion], -1)
            put("message place", whole)
            put("message length", np.where(own, message[1][completion], 0))
        self._kept = None if kept is None else KeptColumn(self._columns, kept, np.where(whole < 0, candidate, -1))
        none = len(candidates.checkpoints)
        checkpoint = candidates.checkpoint[completion]
        put("checkpoint", np.where(checkpoint < 0, none, checkpoint))
        del prompt, candidate, checkpoint
        put("completion", completion)
        means = candidates.writer_log_prob if log_probs else None
        self._log_probs = means is not None
        if means is not None:  # an edited text is not what the server sampled
            put("log prob", np.where(self._columns.read("edit") == 0, means[completion], np.nan))
        self._ids = candidates.ids
        self.schema = shard_schema(
            kind, labelled=self._labelled, log_probs=self._log_probs, kept=self._kept is not None, rich=rich
        )

    def groups(self) -> Iterator[pa.Table]:
        for start in range(0, self._many, GROUP):
            yield self._table(slice(start, start + GROUP))

    def answers_of(self, group: pa.Table) -> pl.Series:
        """Returns the texts of the completions of a group."""
        completions = group["completion"].combine_chunks()
        if TOOLS in group.schema.names:
            return pl.Series([text_of(message) for [message] in completions.to_pylist()], dtype=pl.String)
        texts = completions if self._kind == "text" else pc.struct_field(pc.list_flatten(completions), "content")
        return pl.Series(texts)

    def _table(self, rows: slice) -> pa.Table:
        def of(name: str) -> NDArray[Any]:
            return self._columns.read(name, rows)

        prompts = self._texts.read(of("prompt place"), of("prompt length"))
        completions = strings(self._texts.read(of("place"), of("length")))
        text = self._kind == "text"
        chats = [] if text else list(map(msgspec.json.decode, prompts))
        return pa.table(
            [
                strings(prompts) if text else pa.array(map(messages_of, chats), self.schema.field("prompt").type),
                completions if text else self._answers(completions, rows),
                pa.array(of("label")) if self._labelled else pa.nulls(len(prompts), pa.bool_()),
                pa.array(of("weight")),
                self._reasons.take(pa.array(of("reason"))),
                row_ids(ids_at(self._ids, of("completion")), of("edit")),
                self._checkpoints.take(pa.array(of("checkpoint"))),
                pa.array(of("moment")).cast(pa.timestamp("us", "UTC")),
                pa.array(of("position")),
                *([pa.array(of("log prob"), from_pandas=True)] if self._log_probs else []),  # NaN becomes null
                *([self._kept.read(rows)] if self._kept is not None else []),
                *([pa.array(map(tools_text, chats), pa.string())] if TOOLS in self.schema.names else []),
            ],
            schema=self.schema,
        )

    def _answers(self, completions: pa.Array, rows: slice) -> pa.Array:
        """Returns each completion as a chat of one message."""
        if TOOLS not in self.schema.names:
            return _plain_answers(completions)
        answers = [[{"role": "assistant", "content": text}] for text in completions.to_pylist()]
        if self._messages:
            place, length = self._columns.read("message place", rows), self._columns.read("message length", rows)
            which = np.flatnonzero(place >= 0)
            for index, message in zip(which.tolist(), self._texts.read(place[which], length[which]), strict=True):
                answers[index] = [msgspec.json.decode(message)]
        return pa.array(answers, self.schema.field("completion").type)


def _reasons(selection: Selection, candidates: Candidates) -> dict[Split, dict[str, int]]:
    """Returns the number of rows of each split by reason."""
    reason = candidates.reason[selection.candidate]
    by_split = {}
    for number, split in enumerate(SPLITS):
        counted = np.bincount(reason[selection.split == number], minlength=len(candidates.reasons))
        named = zip(candidates.reasons, counted.tolist(), strict=True)
        by_split[split] = dict(sorted((name, count) for name, count in named if count))
    return by_split


def _plain_answers(completions: pa.Array) -> pa.Array:
    """Returns each completion as a chat of one message of role and text."""
    message = pa.StructArray.from_arrays(
        [pa.array(["assistant"] * len(completions)), completions], fields=list(MESSAGES.value_type)
    )
    return pa.ListArray.from_arrays(pa.array(np.arange(len(completions) + 1, dtype=np.int32)), message).cast(MESSAGES)


def _write_text(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")
    flush(path)
