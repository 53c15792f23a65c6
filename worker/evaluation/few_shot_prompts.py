"""The rows and prompts that are read with examples: those that fit into the context with them.

What the other models read cut is left out, too. If more than a tenth of the held-out rows or prompts is left out, there
is nothing to measure, and `reason` says why.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
from thumbwheel.row_checks import RowFault

from app.snapshots.files.message_columns import TOOLS, chat_of, prompt_of
from worker.evaluation.examples import FewShotExample, Kind, chosen_examples, with_examples
from worker.evaluation.sampled_prompts import SampledPrompt, encoded_prompt, read_prompt
from worker.training.data.packing import Pair
from worker.training.data.rows import Row, TokenisedRows
from worker.training.data.tokens import Ids, Tokens
from worker.training.job import Job

#: The largest share of the held-out rows, or of the prompts, that may be left out.
MOST_LEFT_OUT = 0.1
#: Tokens by which a prompt that was cut is told from a whole one.
BEGINNING = 16


@dataclass(frozen=True)
class FewShotLimits:
    """Numbers of tokens: of the model's context, of a training row, of the longest reply, and of the vocabulary."""

    context: int
    max_length: int
    reply: int
    vocabulary: int


class FewShotPrompts:
    """The rows and prompts with examples before them.

    rows, pairs   the places of the rows in `in_order`, and their tokens
    numbers, ids  the places of the prompts in `prompts`, and their tokens
    reason        why there is nothing to measure; None if there is
    """

    def __init__(
        self,
        job: Job,
        tokens: Tokens,
        read: TokenisedRows,
        in_order: Sequence[Row],
        prompts: Sequence[SampledPrompt],
        limits: FewShotLimits,
    ) -> None:
        """Prepares them.

        in_order  the held-out rows, in the order of the scorer's arrays
        prompts   the sampled ones of holdout and suites, in the order of the samples
        """
        self._job, self._tokens, self._limits = job, tokens, limits
        self.in_order, self.prompts = in_order, prompts
        self.count = job.recipe.evaluation.few_shots
        self.examples: dict[Kind, Sequence[FewShotExample]] = {}
        self.numbers, self.ids, self.rows, self.pairs = list[int](), list[Ids](), list[int](), list[Pair]()
        self.reason: str | None = "evaluation.few_shots is 0"
        if self.count:
            self.numbers, self.ids = self._with_examples(prompts)
            self.rows, self.pairs = self._rows_with_examples(read, in_order)
            self.reason = self._reason()

    def _of_kind(self, kind: Kind) -> Sequence[FewShotExample]:
        """Returns the examples for prompts of this kind; none if there are too few."""
        if kind not in self.examples:
            limits = self._limits
            found = chosen_examples(
                self._job, self._tokens, kind, count=self.count, most_tokens=self._most_tokens,
                max_length=limits.max_length, vocabulary=limits.vocabulary,
            )  # fmt: skip
            self.examples[kind] = found if len(found) == self.count else []
        return self.examples[kind]

    @property
    def _most_tokens(self) -> int:
        return min(self._limits.max_length, self._limits.context // 2 // self.count)

    def _with_examples(self, prompts: Sequence[SampledPrompt]) -> tuple[list[int], list[Ids]]:
        """Returns the numbers of the prompts that fit with examples and a reply, and their tokens."""
        limits = self._limits
        numbers: list[int] = []
        encoded: list[Ids] = []
        for number, prompt in enumerate(prompts):
            content = read_prompt(prompt, self._tokens)
            examples = self._of_kind("text" if isinstance(content, str) else "chat")
            ids = None
            if examples and _begins_like(prompt.ids, encoded_prompt(content, self._tokens)):
                ids = encoded_prompt(with_examples(content, examples), self._tokens)
            if ids is not None and len(ids) + limits.reply <= limits.context:
                numbers.append(number)
                encoded.append(ids)
        return numbers, encoded

    def _rows_with_examples(self, read: TokenisedRows, in_order: Sequence[Row]) -> tuple[list[int], list[Pair]]:
        """Returns the places in `in_order` of the rows that fit with examples, and their tokens."""
        limits = self._limits
        place_of = {id(row): place for place, row in enumerate(in_order)}
        pairs: dict[int, Pair] = {}
        for shard in self._job.shards_of("holdout"):
            file = pq.ParquetFile(self._job.workdir / "snapshot" / shard.path)
            columns = [name for name in ("prompt", "completion", TOOLS) if name in file.schema_arrow.names]
            table = file.read(columns=columns)
            examples = self._of_kind(shard.format)
            for number, raw in enumerate(table.to_pylist() if examples else ()):
                index = read.places.get((shard.path, number))
                row = None if index is None else read.rows[index]
                if row is None or id(row) not in place_of or row.length >= limits.max_length:
                    continue
                encode = self._tokens.encode_text if shard.format == "text" else self._tokens.encode_chat
                [encoded] = encode([with_examples(prompt_of(raw), examples)], [chat_of(raw["completion"])])
                if isinstance(encoded, RowFault) or not np.array_equal(encoded.completion, row.completion):
                    continue
                if len(encoded.prompt) + len(encoded.completion) <= limits.context:
                    pairs[place_of[id(row)]] = (encoded.prompt, row.completion)
        return sorted(pairs), [pairs[place] for place in sorted(pairs)]

    def _reason(self) -> str | None:
        """Returns the reason why there are no figures; None if there are."""
        remedy = "lower evaluation.few_shots, raise max_length, or use a model with a longer context"
        without = next((kind for kind, found in self.examples.items() if not found), None)
        held_out = [number for number, prompt in enumerate(self.prompts) if prompt.held_out]
        kept = set(self.numbers)
        for what, all_of_them, left_out in (
            ("rows", len(self.in_order), len(self.in_order) - len(self.rows)),
            ("prompts", len(held_out), sum(number not in kept for number in held_out)),
        ):
            if left_out > MOST_LEFT_OUT * all_of_them:
                if without is not None:
                    return (
                        f"fewer than {self.count} desirable training rows can be examples for a {without}, of at most "
                        f"{self._most_tokens:,} tokens each: {remedy}, or collect more feedback"
                    )
                return (
                    f"{left_out:,} of {all_of_them:,} held-out {what} do not fit into the context with {self.count} "
                    f"examples, or are longer than max_length: {remedy}"
                )
        return None if self.rows else "there are no held-out rows"


def _begins_like(ids: Ids, whole: Ids | None) -> bool:
    """Returns whether the tokens of a prompt begin as the `whole` prompt does: one that was cut lost its beginning."""
    compared = min(len(ids), 0 if whole is None else len(whole), BEGINNING)
    return whole is not None and np.array_equal(ids[:compared], whole[:compared])
