"""The snapshot's rows as token ids."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from worker.kto.job import Shard
from worker.kto.process import Refusal
from worker.kto.tokens import Ids, Tokens, fit

COLUMNS = ("prompt", "completion", "label", "weight", "completion_id", "position")


@dataclass(frozen=True)
class Row:
    prompt: Ids  # [P] at least one token
    completion: Ids  # [C] at least two, the last one an end token
    desirable: bool
    weight: float
    completion_id: str
    prompt_key: bytes  # equal for equal prompts, whatever was cut

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.completion)


@dataclass
class Rows:
    rows: list[Row]
    dropped: int = 0  # empty completions, and those of which nothing would be left
    truncated: int = 0
    tokens_cut: int = 0

    def require_both_classes(self) -> None:
        desirable = sum(row.desirable for row in self.rows)
        if desirable in (0, len(self.rows)):
            kind, missing = ("undesirable", "desirable") if desirable == 0 else ("desirable", "undesirable")
            raise Refusal(
                "one_class",
                f"snapshot: {len(self.rows)} usable train rows, all {kind}, {self.dropped} dropped as empty: KTO needs "
                f"both classes, collect {missing} feedback" + (" (edits give it)" if missing == "desirable" else ""),
            )


def read_rows(folder: Path, shards: Sequence[Shard], tokens: Tokens, max_length: int) -> Rows:
    """Every row of `shards` in order of position, tokenised and cut to `max_length`. Raises `Refusal`."""
    found = Rows([])
    placed: list[tuple[int, Row]] = []
    for shard in shards:
        for batch in _batches(folder, shard):
            prompts, completions = batch["prompt"], batch["completion"]
            encode = tokens.encode_chat if shard.format == "chat" else tokens.encode_text
            said = [index for index, completion in enumerate(completions) if not _empty(completion)]
            pairs = encode([prompts[index] for index in said], [completions[index] for index in said])
            found.dropped += len(completions) - len(said)
            for index, (prompt, completion) in zip(said, pairs, strict=True):
                fitted = fit(prompt, completion, max_length)
                if fitted is None:
                    found.dropped += 1
                    continue
                found.truncated += fitted.tokens_cut > 0
                found.tokens_cut += fitted.tokens_cut
                row = Row(
                    prompt=fitted.prompt,
                    completion=fitted.completion,
                    desirable=batch["label"][index],
                    weight=batch["weight"][index],
                    completion_id=str(batch["completion_id"][index]),
                    prompt_key=_key(prompts[index]),
                )
                placed.append((batch["position"][index], row))
    found.rows = [row for _, row in sorted(placed, key=lambda pair: pair[0])]
    return found


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
        for batch in file.iter_batches(batch_size=2048, columns=list(COLUMNS)):
            yield batch.to_pydict()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise Refusal("shard_unreadable", f"snapshot: {shard.path} is no readable parquet file: {reason}") from None


def _empty(completion: Any) -> bool:
    if isinstance(completion, str):
        return not completion
    return not completion or not any(message.get("content") for message in completion)


def _key(prompt: Any) -> bytes:
    return hashlib.sha256(json.dumps(prompt, sort_keys=True, ensure_ascii=False).encode()).digest()[:16]
