"""Finds the rows of completions in a snapshot's files, and rewrites the files without some rows."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from thumbwheel import wire

from app.durable import sha256_of
from app.snapshots.balance.enough import ClassTally, warnings
from app.snapshots.balance.plan import Cell
from app.snapshots.balance.writers import ages_from
from app.snapshots.files.kept_column import KeptFigures
from app.snapshots.files.message_columns import TOOLS, prompt_of
from app.snapshots.files.parquet import (
    GROUP,
    KEPT,
    MEMBERS,
    PAIRS,
    PAIRS_SCHEMA,
    WRITER_LOG_PROB,
    parquet,
    shard_schema,
    with_sources,
    write_members,
    write_pairs,
)
from app.snapshots.files.write import counts_of
from app.snapshots.prompts.split import Split
from app.snapshots.selection.pairs import SOURCES


@dataclass(frozen=True)
class Member:
    """A row that a completion contributed to. `number`: the row's index in the shard."""

    row: str
    shard: str
    number: int


def members_of(file: IO[bytes] | Path, completion_ids: Collection[str]) -> Iterator[Member]:
    """Yields the rows of these completions. Reads only the row groups that may have them, since the file is sorted."""
    wanted = pa.array(sorted(completion_ids), pa.string())
    if not len(wanted):
        return
    with pq.ParquetFile(file) as members:
        for number in range(members.num_row_groups):
            bounds = members.metadata.row_group(number).column(0).statistics
            within = (
                bounds is None
                or not bounds.has_min_max
                or pc.any(pc.and_(pc.greater_equal(wanted, bounds.min), pc.less_equal(wanted, bounds.max))).as_py()
            )
            if within:
                part = members.read_row_group(number)
                for match in part.filter(pc.is_in(part["completion_id"], wanted)).to_pylist():
                    yield Member(match["row"], match["shard"], match["number"])


def completions_in(file: IO[bytes]) -> Iterator[str]:
    """Yields the completions that a file of members names."""
    with pq.ParquetFile(file) as members:
        for batch in members.iter_batches(columns=["completion_id"]):
            yield from batch.column(0).to_pylist()


def row_at(file: IO[bytes], number: int) -> dict[str, Any]:
    """Returns the label, weight and reason of the shard's row with this number."""
    with pq.ParquetFile(file) as shard:
        part = shard.read_row_group(number // GROUP, columns=["label", "weight", "reason"])
        row: dict[str, Any] = part.slice(number % GROUP, 1).to_pylist()[0]
        return row


def prompts_of(file: IO[bytes]) -> Iterator[Any]:
    """Yields the prompt of each row of the shard."""
    with pq.ParquetFile(file) as shard:
        columns = [name for name in ("prompt", TOOLS) if name in shard.schema_arrow.names]
        for batch in shard.iter_batches(columns=columns):
            yield from map(prompt_of, batch.to_pylist())


def ids_among(file: IO[bytes], completion_ids: Collection[str]) -> Iterator[str]:
    """Yields those of the completion ids that a row of the shard has."""
    wanted = pa.array(sorted(completion_ids), pa.string())
    with pq.ParquetFile(file) as shard:
        for batch in shard.iter_batches(columns=["completion_id"]):
            yield from batch.column(0).filter(pc.is_in(batch.column(0), wanted)).to_pylist()


@dataclass(frozen=True)
class Rest:
    """The result of a rewrite: the number of removed rows and the `shards` that had them, and the rest.

    parts  entries of the manifest that replace the earlier ones
    cells  the training rows that are left
    ages   how old the feedback on them is
    """

    rows: int
    shards: list[str]
    parts: dict[str, Any]
    cells: list[Cell]
    ages: wire.FeedbackAges


def without(manifest: dict[str, Any], folder: Path, completion_ids: Collection[str], rest: Path) -> Rest:
    """Writes the files of the snapshot in `folder` into `rest`, without the rows of these completions.

    Rows keep their order and their `position`.
    """
    gone: dict[str, set[int]] = {}
    for member in members_of(folder / MEMBERS, completion_ids):
        gone.setdefault(member.shard, set()).add(member.number)
    figures = KeptFigures()
    tallies: dict[Split, _SplitTotals] = {split: _SplitTotals() for split in manifest["counts"]}
    shards: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    numbers = {}
    listed = [(True, shard) for shard in manifest["shards"]]
    listed += [(False, shard) for shard in manifest["pairs"].get("shards", ())]
    for labelled, shard in listed:
        keep = np.ones(shard["rows"], dtype=bool)
        keep[sorted(gone.get(shard["path"], ()))] = False
        numbers[shard["path"]] = np.where(keep, np.cumsum(keep) - 1, -1)
        if not keep.any():
            continue
        path = rest / shard["path"]
        names = pq.read_schema(folder / shard["path"]).names
        schema = shard_schema(
            shard["format"], labelled=labelled, log_probs=WRITER_LOG_PROB in names, kept=KEPT in names,
            rich=TOOLS in names,
        )  # fmt: skip
        with parquet(path, schema, dictionaries=["reason", "checkpoint_id"]) as writer:
            for table in _kept(folder / shard["path"], keep):
                if labelled:
                    tallies[shard["split"]].add(table)
                    figures.add(shard["split"], table)
                writer.write_table(table, row_group_size=GROUP)
        shards[labelled].append({**shard, "rows": int(keep.sum()), "sha256": sha256_of(path)})
    pairs = _pairs(folder / PAIRS, numbers)
    write_pairs(rest / PAIRS, [pairs])
    write_members(rest / MEMBERS, [_members(folder / MEMBERS, numbers)])
    of_split = {shard["path"]: shard["split"] for _, shard in listed}
    sources: dict[Split, Counter[str]] = {split: Counter(dict.fromkeys(SOURCES, 0)) for split in manifest["counts"]}
    for path, source in zip(pairs["shard"].to_pylist(), pairs["source"].to_pylist(), strict=True):
        tallies[of_split[path]].tally.pairs += 1
        sources[of_split[path]][source] += 1
    parts = {
        "shards": shards[True],
        "pairs": {
            **manifest["pairs"], "path": PAIRS, "sha256": sha256_of(rest / PAIRS),
            **{split: tallies[split].tally.pairs for split in ("train", "holdout")},
            "sources": {split: dict(counted) for split, counted in sources.items()}, "shards": shards[False],
        },
        "members": {"path": MEMBERS, "sha256": sha256_of(rest / MEMBERS)},
        "counts": {split: counts_of(counted.tally) for split, counted in tallies.items()},
        "reasons": {split: dict(sorted(counted.reasons.items())) for split, counted in tallies.items()},
        "warnings": warnings(tallies["holdout"].tally),
        **figures.entry(),
    }  # fmt: skip
    newest = max(int(counted.moments().max(initial=0)) for counted in tallies.values())
    train = tallies["train"]
    ages = ages_from(train.moments(), newest=newest)
    return Rest(sum(map(len, gone.values())), sorted(gone), parts, train.cells(), ages)


class _SplitTotals:
    """The counts and sums of a split's rows."""

    def __init__(self) -> None:
        self.tally = ClassTally()
        self.reasons: Counter[str] = Counter()
        self._cells: dict[tuple[str | None, str, bool], list[float]] = {}
        self._moments = [np.empty(0, dtype=np.int64)]

    def add(self, rows: pa.Table) -> None:
        columns = (rows[name].to_pylist() for name in ("checkpoint_id", "reason", "label", "weight"))
        for checkpoint, reason, label, weight in zip(*columns, strict=True):
            self.tally.add(label, weight)
            self.reasons[reason] += 1
            self._cells.setdefault((checkpoint, reason, label), []).append(weight)
        self._moments.append(rows["signal_time"].cast(pa.int64()).to_numpy())

    def moments(self) -> NDArray[np.int64]:
        """Returns the times of the newest signals behind the rows, µs since 1970."""
        return np.concatenate(self._moments)

    def cells(self) -> list[Cell]:
        return [
            Cell(checkpoint, reason, label, len(weights), fsum(weights), fsum(weight**2 for weight in weights))
            for (checkpoint, reason, label), weights in self._cells.items()
        ]


def _kept(path: Path, keep: NDArray[np.bool_]) -> Iterator[pa.Table]:
    """Yields the rows that stay in tables of `GROUP` rows; the last one may have fewer."""
    waiting: list[pa.Table] = []
    start = 0
    with pq.ParquetFile(path) as shard:
        for number in range(shard.num_row_groups):
            table = shard.read_row_group(number)
            waiting.append(table.filter(pa.array(keep[start : start + len(table)])))
            start += len(table)
            if sum(map(len, waiting)) >= GROUP:
                joined = pa.concat_tables(waiting)
                yield joined.slice(0, GROUP)
                waiting = [joined.slice(GROUP)]
    if any(map(len, waiting)):
        yield pa.concat_tables(waiting)


def _pairs(path: Path, numbers: dict[str, NDArray[np.int64]]) -> pa.Table:
    """Returns the remaining pairs with the new numbers of their rows."""
    table = with_sources(pq.ParquetFile(path).read())
    for shard, side in (("shard", "chosen"), ("rejected_shard", "rejected")):
        rows = zip(table[shard].to_pylist(), table[side].to_pylist(), strict=True)
        number = pa.array([int(numbers[name][old]) for name, old in rows], pa.int64())
        table = table.set_column(table.schema.get_field_index(side), table.schema.field(side), number)
    left = table.filter(pc.and_(pc.greater_equal(table["chosen"], 0), pc.greater_equal(table["rejected"], 0)))
    return left.cast(PAIRS_SCHEMA)


def _members(path: Path, numbers: dict[str, NDArray[np.int64]]) -> pa.Table:
    table = pq.ParquetFile(path).read()
    shards: Sequence[str] = table["shard"].to_pylist()
    number = np.array(
        [numbers[shard][old] for shard, old in zip(shards, table["number"].to_pylist(), strict=True)], dtype=np.int64
    )
    renumbered = table.set_column(
        table.schema.get_field_index("number"), table.schema.field("number"), pa.array(number)
    )
    return renumbered.filter(pa.array(number >= 0))
