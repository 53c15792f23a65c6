"""The prompts that are sampled: held-out ones, and those of the suites in WORKDIR/suites.json. For those of judged
answers, see `replay`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from thumbwheel import wire
from thumbwheel.chat_messages import UnreadableMessage, normal_prompt
from thumbwheel.row_checks import RowFault

from app.checkpoints.samples.files import Source
from app.snapshots.files.message_columns import TOOLS, prompt_of
from app.snapshots.files.prompt_key import prompt_json
from app.snapshots.prompts.split import Split
from app.suites.samples import samples_of
from worker.generation.prompts import chosen_rows
from worker.training.data.rows import Row, TokenisedRows
from worker.training.data.tokens import Ids, Tokens
from worker.training.files.sealed import read
from worker.training.job import Job

#: The answer behind a prompt while it is encoded, as training encodes a row: where it begins, the prompt ends.
_ANSWER = " OK"


@dataclass(frozen=True)
class JudgedAnswer:
    """An answer that users judged, to be replayed. `split`: that of its row, train or holdout."""

    completion_id: str
    text: str
    desirable: bool
    split: Split


@dataclass(frozen=True)
class SampledPrompt:
    """A prompt to be sampled.

    group   equal for equal prompts
    text    JSON of a prompt in its normal form: see `thumbwheel.chat_messages`
    suite   name of the suite; None for others, like `test` and `label`
    answer  the judged answer that is replayed; None for other prompts
    """

    ids: Ids
    group: str
    text: str
    suite: str | None = None
    test: int | None = None
    label: str | None = None
    answer: JudgedAnswer | None = None

    @property
    def source(self) -> Source:
        if self.answer is not None:
            return "liked" if self.answer.desirable else "disliked"
        return "holdout" if self.suite is None else "suite"

    @property
    def held_out(self) -> bool:
        """Returns whether it is one of the prompts that stand for the holdout."""
        return self.source == "holdout"


def held_out_prompts(job: Job, read_rows: TokenisedRows, rows: Sequence[Row], count: int) -> list[SampledPrompt]:
    """Returns up to `count` different prompts of the held-out `rows`, in random order."""
    chosen = chosen_rows(rows, count, job.recipe.seed)
    place_of = {id(read_rows.rows[index]): place for place, index in read_rows.places.items()}
    texts = _texts(job, {place_of[id(row)] for row in chosen})
    return [SampledPrompt(row.prompt, row.prompt_key.hex(), texts[place_of[id(row)]]) for row in chosen]


def suite_prompts(workdir: Path, tokens: Tokens, max_length: int) -> tuple[list[SampledPrompt], int]:
    """Returns the prompts of all suites, and the number of those that the model cannot read.

    A text is a message of the user for a model with a chat template, and stays a text for one without. A chat needs a
    template.
    """
    path = workdir / "suites.json"
    if not path.is_file():
        return [], 0
    prompts: list[SampledPrompt] = []
    missing = 0
    for entry in json.loads(read(path))["suites"]:
        suite = wire.Suite.model_validate(entry["document"])
        for sample in samples_of(suite):
            content = sample.messages() if tokens.has_chat_template else sample.content()
            ids = encoded_prompt(content, tokens)
            if ids is None:
                missing += 1
                continue
            label = sample.prompt.label
            prompts.append(
                SampledPrompt(
                    ids[-max_length:],
                    f"{suite.name}/{sample.number}/{label}",
                    prompt_json(sample.content()),
                    suite.name,
                    sample.number,
                    label,
                )
            )
    return prompts, missing


def encoded_prompt(content: Any, tokens: Tokens) -> Ids | None:
    """Returns the tokens of a text or a chat, as training encodes it; None if the model cannot read it."""
    try:
        content = normal_prompt(content)
    except UnreadableMessage:
        return None
    if isinstance(content, str):
        [encoded] = tokens.encode_text([content], [_ANSWER])
    elif tokens.has_chat_template:
        [encoded] = tokens.encode_chat([content], [[{"role": "assistant", "content": _ANSWER.strip()}]])
    else:
        return None
    return None if isinstance(encoded, RowFault) else encoded.prompt


def read_prompt(prompt: SampledPrompt, tokens: Tokens) -> Any:
    """Returns the text or the chat as the model reads it: see `suite_prompts`."""
    content = json.loads(prompt.text)
    as_turn = prompt.suite is not None and tokens.has_chat_template and isinstance(content, str)
    return [{"role": "user", "content": content}] if as_turn else content


def _texts(job: Job, places: set[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """Returns the prompts of these rows, named by shard and number, as JSON."""
    texts: dict[tuple[str, int], str] = {}
    for shard in job.shards_of("holdout"):
        number = 0
        file = pq.ParquetFile(job.workdir / "snapshot" / shard.path)
        columns = [name for name in ("prompt", TOOLS) if name in file.schema_arrow.names]
        for batch in file.iter_batches(columns=columns):
            wanted = [index for index in range(len(batch)) if (shard.path, number + index) in places]
            for index in wanted:
                texts[shard.path, number + index] = prompt_json(prompt_of(batch.slice(index, 1).to_pylist()[0]))
            number += len(batch)
    return texts
