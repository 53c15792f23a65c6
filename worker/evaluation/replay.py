"""The replayed answers: the newest that users disliked, and the newest that they liked; models answer their prompts.

They are rows of the snapshot, one for each prompt and class. Rows with held-out prompts come before all others: a reply
to a prompt of the training shows what the model remembers rather than what it has learnt. Texts that users wrote, and
rows without weight, are left out, and so are rows that training would drop.
"""

import heapq
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from thumbwheel.chat_messages import text_of
from thumbwheel.row_checks import RowFault

from app.labels.policy import EDITED_TEXT
from app.snapshots.files.message_columns import TOOLS, chat_of, prompt_of
from app.snapshots.files.prompt_key import prompt_json, prompt_key
from app.snapshots.prompts.split import Split
from worker.evaluation.sampled_prompts import JudgedAnswer, SampledPrompt
from worker.training.data.rows import fitted_row
from worker.training.data.tokens import Tokens
from worker.training.job import Job, Shard

SPLITS: tuple[Split, ...] = ("holdout", "train")
COLUMNS = ("prompt", "completion", "label", "weight", "reason", "completion_id", "position", TOOLS)


def replayed_prompts(job: Job, tokens: Tokens, max_length: int, vocabulary: int, count: int) -> list[SampledPrompt]:
    """Returns the prompts of up to `count` disliked and `count` liked answers, which take turns.

    So a stage of samples that ends early has about as many of both.
    """
    classes = [
        list(islice(_prompts(job, tokens, max_length, vocabulary, desirable=desirable), count))
        for desirable in (False, True)
    ]
    shorter = min(map(len, classes))
    in_turns = chain.from_iterable(zip(*classes, strict=False))
    return [*in_turns, *(prompt for of_class in classes for prompt in of_class[shorter:])]


def _prompts(job: Job, tokens: Tokens, max_length: int, vocabulary: int, *, desirable: bool) -> Iterator[SampledPrompt]:
    seen: set[bytes] = set()
    for split in SPLITS:
        for row in _newest_first(job, split, desirable=desirable):
            prompt, completion = prompt_of(row), chat_of(row["completion"])
            key = prompt_key(prompt)
            if key in seen:
                continue
            fitted = fitted_row(prompt, completion, tokens, max_length, vocabulary)
            if isinstance(fitted, RowFault):
                continue
            seen.add(key)
            text = completion if isinstance(completion, str) else text_of(completion[0])
            answer = JudgedAnswer(row["completion_id"], text, desirable=desirable, split=split)
            yield SampledPrompt(fitted.prompt, key.hex(), prompt_json(prompt), answer=answer)


def _newest_first(job: Job, split: Split, *, desirable: bool) -> Iterator[dict[str, Any]]:
    """Yields the rows of a split with this label. Positions count up with the time of the judgement."""
    shards = [_from_the_end(job, shard, desirable=desirable) for shard in job.shards_of(split)]
    return heapq.merge(*shards, key=lambda row: int(row["position"]), reverse=True)


def _from_the_end(job: Job, shard: Shard, *, desirable: bool) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(job.workdir / "snapshot" / shard.path) as file:
        columns = [name for name in COLUMNS if name in file.schema_arrow.names]
        for group in reversed(range(file.num_row_groups)):
            rows = file.read_row_group(group, columns=columns)
            wanted = pc.and_(pc.equal(rows["label"], pa.scalar(desirable)), pc.greater(rows["weight"], 0))
            if "reason" in columns:  # a snapshot from elsewhere may have none
                wanted = pc.and_(wanted, pc.fill_null(pc.not_equal(rows["reason"], EDITED_TEXT), fill_value=True))
            yield from reversed(rows.filter(wanted).to_pylist())
