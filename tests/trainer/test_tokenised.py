"""Token ids are reused by the next attempt if nothing that they depend on has changed."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer import tiny
from worker.training.data.rows import Row, read_rows
from worker.training.data.tokenised import keep, kept, tokens_fingerprint
from worker.training.data.tokens import Encoded, Tokens
from worker.training.job import Shard

TOKENS = Tokens(tiny.tokenizer(chat=True), None)


@pytest.fixture
def shards(tmp_path: Path) -> list[Shard]:
    """Writes a shard of texts with a span on its first row, and one of chats with an empty completion."""
    spans: list[dict[str, Any]] = [{"spans": [{"start": 0, "end": 4, "weight": 3.0}]}, *[{"spans": []}] * 21]
    text = [{**row, **more} for row, more in zip(tiny.text_rows(), spans, strict=True)]
    chats = tiny.chat_rows()
    chats[3]["completion"] = [{"role": "assistant", "content": ""}]
    lines = (
        tiny.write_shard(tmp_path / "text.parquet", text),
        tiny.write_shard(tmp_path / "chat.parquet", chats, start=22),
    )
    return [Shard(**line, split="train") for line in lines]


def plain(rows: list[Row]) -> list[Any]:
    return [
        (
            row.prompt.tolist(),
            row.completion.tolist(),
            None if row.token_weights is None else row.token_weights.tolist(),
        )
        for row in rows
    ]


@pytest.mark.parametrize("weigh_tokens", [False, True])
def test_rows_are_the_same_when_they_are_read_again(tmp_path: Path, shards: list[Shard], weigh_tokens: bool) -> None:
    path = tmp_path / "tokens"
    first = read_rows(tmp_path, shards, TOKENS, 64, weigh_tokens=weigh_tokens, tokenised=path)
    written = path.stat().st_mtime_ns

    again = read_rows(tmp_path, shards, TOKENS, 64, weigh_tokens=weigh_tokens, tokenised=path)

    assert plain(again.rows) == plain(first.rows)
    assert (again.dropped, again.lengths, again.places) == (1, first.lengths, first.places)
    assert path.stat().st_mtime_ns == written
    # and they are cut after they were stored
    shorter = [read_rows(tmp_path, shards, TOKENS, 20, weigh_tokens=weigh_tokens, tokenised=p) for p in (path, None)]
    assert plain(shorter[0].rows) == plain(shorter[1].rows)
    assert shorter[0].tokens_cut == shorter[1].tokens_cut > 0


def fingerprint(shards: list[Shard], tokens: Tokens = TOKENS, *, weigh_tokens: bool = False) -> str:
    value = tokens_fingerprint(shards, tokens, weigh_tokens=weigh_tokens)
    assert value is not None
    return value


def test_kept_tokens_are_not_tokenised_again(tmp_path: Path, shards: list[Shard]) -> None:
    row = Encoded(np.array([7], np.int32), np.array([8, 256], np.int32), None)
    keep(tmp_path / "tokens", fingerprint(shards), [row] * 33)

    read = read_rows(tmp_path, shards, TOKENS, 64, tokenised=tmp_path / "tokens")

    assert plain(read.rows) == [([7], [8, 256], None)] * 33


def test_whatever_decides_token_ids_is_in_the_fingerprint(shards: list[Shard]) -> None:
    another_template = copy.deepcopy(TOKENS.tokenizer)
    another_template.chat_template += " "
    one_more_token = copy.deepcopy(TOKENS.tokenizer)
    one_more_token.add_tokens(["refund"])

    fingerprints = [
        fingerprint(shards),
        fingerprint(shards[:1]),
        fingerprint(shards, weigh_tokens=True),
        fingerprint(shards, Tokens(another_template, None)),
        fingerprint(shards, Tokens(one_more_token, None)),
        fingerprint(shards, Tokens(TOKENS.tokenizer, 11)),
    ]

    assert len(set(fingerprints)) == len(fingerprints)
    assert fingerprint(shards) == fingerprints[0]


def test_a_damaged_or_another_file_keeps_nothing(tmp_path: Path, shards: list[Shard]) -> None:
    path = tmp_path / "tokens"
    whole = plain(read_rows(tmp_path, shards, TOKENS, 64, tokenised=path).rows)
    path.write_bytes(path.read_bytes()[:-50])

    assert kept(path, fingerprint(shards)) is None
    assert plain(read_rows(tmp_path, shards, TOKENS, 64, tokenised=path).rows) == whole
    assert kept(path, fingerprint(shards)) is not None
    assert kept(path, "another") is None


def test_a_process_that_is_not_to_keep_anything_keeps_nothing(tmp_path: Path, shards: list[Shard]) -> None:
    read_rows(tmp_path, shards, TOKENS, 64, tokenised=tmp_path / "tokens", keeps=False)

    assert not (tmp_path / "tokens").exists()
