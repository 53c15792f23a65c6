"""The file of outcomes of a checkpoint's suites: what each model wrote for each test, with the verdicts. Pure.

A row group has tests of one suite, so that a page of a listing reads one or two groups. The same outcomes give the same
bytes.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

#: Its path among the files of a checkpoint.
OUTCOMES = "suites.parquet"
MODELS = ("candidate", "shipped", "ancestor")
#: Tests of a row group.
GROUP = 200
_INDEX = b"suites"
_ANSWER = pa.struct(
    [
        pa.field("output", pa.string()),
        pa.field("cut_off", pa.bool_(), nullable=False),
        pa.field("verdict", pa.string(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("reason", pa.string(), nullable=False),
    ]
)
_SCHEMA = pa.schema(
    [
        pa.field("suite", pa.string(), nullable=False),
        pa.field("test", pa.int32(), nullable=False),
        pa.field("description", pa.string(), nullable=False),
        pa.field("prompt_label", pa.string(), nullable=False),
        *(pa.field(model, _ANSWER, nullable=False) for model in MODELS),
    ]
)


@dataclass(frozen=True)
class _Part:
    """The place of a suite in the file: its first row group, and its number of tests with prompts."""

    first: int
    rows: int


class OutcomesDamaged(Exception):
    """The file cannot be read."""


def write_outcomes(path: Path, suites: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Writes the outcomes of each suite. An outcome has the fields of `wire.SuiteOutcome`."""
    index: dict[str, list[int]] = {}
    groups = 0
    for name, outcomes in suites.items():
        index[name] = [groups, len(outcomes)]
        groups += -(-len(outcomes) // GROUP)
    schema = _SCHEMA.with_metadata({_INDEX: json.dumps(index).encode()})
    with pq.ParquetWriter(path, schema, write_statistics=False, write_page_checksum=True) as writer:
        for name, outcomes in suites.items():
            for start in range(0, len(outcomes), GROUP):
                rows = [{"suite": name, **row} for row in outcomes[start : start + GROUP]]
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def suites_in(file: IO[bytes] | Path) -> list[str]:
    """Returns the names of the suites in the file. Raises `OutcomesDamaged`."""
    return list(_index_of(_opened(file)))


def read_outcomes(file: IO[bytes] | Path, suite: str, start: int, limit: int) -> list[dict[str, Any]] | None:
    """Returns up to `limit` outcomes of a suite from number `start` on; None if the file lacks the suite.

    Raises `OutcomesDamaged`.
    """
    opened = _opened(file)
    part = _index_of(opened).get(suite)
    if part is None:
        return None
    end = min(start + limit, part.rows)
    if start >= end:
        return []
    first, last = start // GROUP, (end - 1) // GROUP
    groups = [part.first + number for number in range(first, last + 1)]
    rows = _rows(opened, groups)
    return rows[start - first * GROUP : end - first * GROUP]


def regressions(file: IO[bytes] | Path, most: int) -> list[dict[str, Any]]:
    """Returns the `most` outcomes with the lowest scores among those that passed for the shipped model and failed for
    the candidate. Ties are in the order of suites and tests. Raises `OutcomesDamaged`.
    """
    opened = _opened(file)
    worst: list[dict[str, Any]] = []
    for group in range(opened.num_row_groups):
        worst += [
            row
            for row in _rows(opened, [group])
            if row["shipped"]["verdict"] == "passed" and row["candidate"]["verdict"] == "failed"
        ]
        worst = sorted(worst, key=_score)[:most]
    return worst


def _score(row: Mapping[str, Any]) -> float:
    score = row["candidate"]["score"]
    return 0.0 if score is None else float(score)


def _opened(file: IO[bytes] | Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise OutcomesDamaged(str(error)) from error


def _index_of(file: pq.ParquetFile) -> dict[str, _Part]:
    metadata: Mapping[bytes, bytes] = file.schema_arrow.metadata or {}
    return {name: _Part(*place) for name, place in json.loads(metadata.get(_INDEX, b"{}")).items()}


def _rows(file: pq.ParquetFile, groups: Iterable[int]) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = file.read_row_groups(list(groups)).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise OutcomesDamaged(str(error)) from error
    return rows
