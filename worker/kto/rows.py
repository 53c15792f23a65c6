"""The snapshot's rows as token ids."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from worker.kto.job import PairsFile, Shard
from worker.kto.process import Refusal
from worker.kto.tokenised import keep, kept, tokens_fingerprint
from worker.kto.tokens import SHORTEST, Encoded, Ids, Span, Tokens, Weights, fit, fit_weights

COLUMNS = ("prompt", "completion", "label", "weight", "completion_id", "position")
#: Columns that some objectives ask for: several labels of a row, spans of a completion that weigh differently.
OPTIONAL = ("labels", "spans")


@dataclass(frozen=True)
class Row:
    prompt: Ids  # [P] at least one token
    completion: Ids  # [C] at least two, the last one an end token
    desirable: bool
    weight: float
    completion_id: str
    prompt_key: bytes  # equal for equal prompts, whatever was cut
    labels: Mapping[str, bool] = field(default_factory=dict)  # by name, for mo_kto
    token_weights: Weights | None = None  # [C], for tkto

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.completion)


@dataclass
class Rows:
    rows: list[Row]
    dropped: int = 0  # empty completions, and those of which nothing would be left
    truncated: int = 0
    tokens_cut: int = 0
    lengths: list[int] = field(default_factory=list)  # tokens of each kept row before it was cut
    prompts_too_long: int = 0  # kept rows whose prompt alone leaves no room for a completion
    #: shard and row number in it → index in `rows`
    places: dict[tuple[str, int], int] = field(default_factory=dict)

    def require_both_classes(self) -> None:
        desirable = sum(row.desirable for row in self.rows)
        if desirable in (0, len(self.rows)):
            kind, missing = ("undesirable", "desirable") if desirable == 0 else ("desirable", "undesirable")
            raise Refusal(
                "one_class",
                f"snapshot: {len(self.rows)} usable train rows, all {kind}, {self.dropped} dropped as empty: KTO needs "
                f"both classes, collect {missing} feedback" + (" (edits give it)" if missing == "desirable" else ""),
            )


def read_rows(
    folder: Path,
    shards: Sequence[Shard],
    tokens: Tokens,
    max_length: int,
    *,
    weigh_tokens: bool = False,
    tokenised: Path | None = None,
    keeps: bool = True,
) -> Rows:
    """Every row of `shards` in order of position, tokenised and cut to `max_length`. Raises `Refusal`.

    `weigh_tokens`: turn the rows' spans into token weights. `tokenised`: where token ids are kept from one attempt at a
    run to the next; `keeps`: whether it is for this process to put them there.
    """
    fingerprint = tokens_fingerprint(shards, tokens, weigh_tokens=weigh_tokens) if tokenised else None
    known = kept(tokenised, fingerprint) if tokenised and fingerprint else None
    every: list[Encoded] = []
    found = Rows([])
    placed: list[tuple[int, Row, tuple[str, int]]] = []
    for shard in shards:
        first = 0  # row number in the shard of the batch's first row
        for batch in _batches(folder, shard):
            prompts, completions = batch["prompt"], batch["completion"]
            encode = tokens.encode_chat if shard.format == "chat" else tokens.encode_text
            said = [index for index, completion in enumerate(completions) if not _empty(completion)]
            if known is not None:
                encoded = known[len(every) : len(every) + len(said)]
            else:
                encoded = encode(
                    [prompts[index] for index in said],
                    [completions[index] for index in said],
                    [_spans(batch, index) for index in said] if weigh_tokens else None,
                )
            every += encoded
            found.dropped += len(completions) - len(said)
            for index, (prompt, completion, weights) in zip(said, encoded, strict=True):
                fitted = fit(prompt, completion, max_length)
                if fitted is None:
                    found.dropped += 1
                    continue
                found.truncated += fitted.tokens_cut > 0
                found.tokens_cut += fitted.tokens_cut
                found.lengths.append(len(prompt) + len(completion))
                found.prompts_too_long += len(prompt) + SHORTEST > max_length
                row = Row(
                    prompt=fitted.prompt,
                    completion=fitted.completion,
                    desirable=batch["label"][index],
                    weight=batch["weight"][index],
                    completion_id=str(batch["completion_id"][index]),
                    prompt_key=_key(prompts[index]),
                    labels=_labels(batch, index),
                    token_weights=None if weights is None else fit_weights(weights, len(fitted.completion)),
                )
                placed.append((batch["position"][index], row, (shard.path, first + index)))
            first += len(completions)
    if tokenised and fingerprint and keeps and known is None:
        keep(tokenised, fingerprint, every)
    placed.sort(key=lambda one: one[0])
    found.rows = [row for _, row, _ in placed]
    found.places = {place: index for index, (_, _, place) in enumerate(placed)}
    return found


def read_pairs(folder: Path, file: PairsFile | None, read: Rows) -> list[tuple[int, int]]:
    """(chosen, rejected) as indices in `read.rows`, without pairs that lost a row. Raises `Refusal`."""
    if file is None:
        return []
    try:
        columns = pq.read_table(folder / file.path, columns=["shard", "chosen", "rejected"]).to_pydict()
    except (pa.ArrowException, OSError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise Refusal("pairs_unreadable", f"snapshot: {file.path} is no list of pairs: {reason}") from None
    pairs = [
        (read.places.get((shard, chosen)), read.places.get((shard, rejected)))
        for shard, chosen, rejected in zip(*(columns[name] for name in ("shard", "chosen", "rejected")), strict=True)
    ]
    return [(chosen, rejected) for chosen, rejected in pairs if chosen is not None and rejected is not None]


def _batches(folder: Path, shard: Shard) -> Iterator[dict[str, list[Any]]]:
    try:
        file = pq.ParquetFile(folder / shard.path)
        missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
        if missing:
            raise Refusal(
                "shard_columns", f"snapshot: {shard.path} lacks the column {missing[0]}: build the snapshot again"
            )
        if not pa.types.is_boolean(file.schema_arrow.field("label").type):
            raise Refusal("shard_columns", f"snapshot: the label column of {shard.path} is not boolean: build it again")
        if file.metadata.num_rows != shard.rows:
            raise Refusal(
                "shard_rows",
                f"snapshot: {shard.path} has {file.metadata.num_rows} rows, the manifest says {shard.rows}: rebuild it",
            )
        wanted = [*COLUMNS, *(name for name in OPTIONAL if name in file.schema_arrow.names)]
        for batch in file.iter_batches(batch_size=2048, columns=wanted):
            yield batch.to_pydict()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise Refusal("shard_unreadable", f"snapshot: {shard.path} is no readable parquet file: {reason}") from None


def _labels(batch: Mapping[str, list[Any]], index: int) -> dict[str, bool]:
    given = batch["labels"][index] if "labels" in batch else None
    return {label["name"]: label["value"] for label in given or () if label["value"] is not None}


def _spans(batch: Mapping[str, list[Any]], index: int) -> list[Span]:
    given = batch["spans"][index] if "spans" in batch else None
    return [Span(span["start"], span["end"], span["weight"]) for span in given or ()]


def _empty(completion: Any) -> bool:
    if isinstance(completion, str):
        return not completion
    return not completion or not any(message.get("content") for message in completion)


def _key(prompt: Any) -> bytes:
    return hashlib.sha256(json.dumps(prompt, sort_keys=True, ensure_ascii=False).encode()).digest()[:16]
