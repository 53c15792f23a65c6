"""Examples for a prompt: desirable training rows that a model reads before it.

**Which rows.** Those with the smallest SHA-256 of the recipe's seed, the prompt and the completion: they are the same
whenever the snapshot is, and neither short nor new ones are preferred. They have weight, different prompts, and a
prompt within the recipe's `prompt_share`, so an arm with a budget sees no others. Rows that training would drop or cut
are left out, and so are rows that are longer than their share of the room. No held-out row is read.

**How they are written.** In a chat, the examples are earlier turns, after the prompt's own system turns: those of the
example's chat without its system turns (a text is a turn of the user), then its completion as a turn of the assistant.
Before a text, each example is its prompt and its completion as they were trained on, then an empty line:

    PROMPT COMPLETION ⏎ ⏎ PROMPT COMPLETION ⏎ ⏎ … the prompt
"""

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from thumbwheel.chat_messages import messages_of, tools_of, with_messages
from thumbwheel.row_checks import RowFault

from app.snapshots.files.message_columns import TOOLS, chat_of, prompt_of
from app.snapshots.files.prompt_key import prompt_json, prompt_key
from worker.training.data.rows import fitted_row
from worker.training.data.tokens import Tokens
from worker.training.job import Job
from worker.training.training_run import is_within_share

Kind = Literal["chat", "text"]
COLUMNS = ("prompt", "completion", "label", "weight", TOOLS)
#: Rows that are looked at in their order; if too few of them are usable, there are no examples.
MOST_LOOKED_AT = 1024
SEPARATOR = "\n\n"


@dataclass(frozen=True)
class FewShotExample:
    """A training row as an example. `place`: its shard and its number in the shard."""

    place: tuple[str, int]
    prompt: Any
    completion: Any

    @property
    def turns(self) -> list[dict[str, Any]]:
        """The example as turns of a chat, without system turns."""
        if isinstance(self.prompt, str):
            answer = {"role": "assistant", "content": self.completion.strip()}
            return [{"role": "user", "content": self.prompt}, answer]
        own = [message for message in messages_of(self.prompt) if message["role"] != "system"]
        return [*own, *self.completion]


def with_examples(prompt: Any, examples: Sequence[FewShotExample]) -> Any:
    """Returns the prompt, a text or messages, with the examples before it."""
    if isinstance(prompt, str):
        return "".join(f"{each.prompt}{each.completion}{SEPARATOR}" for each in examples) + prompt
    messages = messages_of(prompt)
    system = list(takewhile(lambda message: message["role"] == "system", messages))
    turns = [*system, *(turn for each in examples for turn in each.turns), *messages[len(system) :]]
    return with_messages(prompt, turns)


def chosen_examples(
    job: Job, tokens: Tokens, kind: Kind, *, count: int, most_tokens: int, max_length: int, vocabulary: int
) -> list[FewShotExample]:
    """Returns `count` examples for prompts of this kind, or fewer if there are no more.

    most_tokens  of an example, prompt and completion together
    max_length   tokens to which training cuts rows
    """
    chosen: list[FewShotExample] = []
    seen: set[bytes] = set()
    for example in heapq.nsmallest(MOST_LOOKED_AT, _rows(job), key=lambda each: _order(job.recipe.seed, each)):
        key = prompt_key(example.prompt)
        if len(chosen) == count:
            break
        if key in seen or not is_within_share(key, job.recipe.prompt_share) or not _fits_kind(example, kind):
            continue
        fitted = fitted_row(example.prompt, example.completion, tokens, max_length, vocabulary)
        if isinstance(fitted, RowFault) or fitted.tokens_cut:
            continue
        if len(fitted.prompt) + len(fitted.completion) <= most_tokens:
            seen.add(key)
            chosen.append(example)
    return chosen


def _rows(job: Job) -> Iterator[FewShotExample]:
    for shard in job.shards_of("train"):
        number = 0
        file = pq.ParquetFile(job.workdir / "snapshot" / shard.path)
        columns = [name for name in COLUMNS if name in file.schema_arrow.names]
        for batch in file.iter_batches(columns=columns):
            usable = pc.and_(pc.equal(batch["label"], pa.scalar(value=True)), pc.greater(batch["weight"], 0))
            for index in pc.indices_nonzero(usable).to_pylist():
                [row] = batch.slice(index, 1).to_pylist()
                yield FewShotExample((shard.path, number + index), prompt_of(row), chat_of(row["completion"]))
            number += len(batch)


def _order(seed: int, example: FewShotExample) -> bytes:
    return hashlib.sha256(f"{seed}\n{prompt_json(example.prompt)}\n{prompt_json(example.completion)}".encode()).digest()


def _fits_kind(example: FewShotExample, kind: Kind) -> bool:
    """Returns whether the row can be an example for prompts of this kind: whole turns in a chat, a text in a text."""
    if kind == "text" or isinstance(example.prompt, str):
        return isinstance(example.prompt, str)
    if tools_of(example.prompt):  # they would be offered for the prompt, too
        return False
    roles = [turn["role"] for turn in example.turns]
    return all(role == ("user", "assistant")[number % 2] for number, role in enumerate(roles)) and len(roles) % 2 == 0
