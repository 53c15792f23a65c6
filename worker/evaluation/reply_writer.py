"""Writes the replies of models to the same prompts in waves, within a budget of time and tokens.

Prompts are sampled in waves, in the given order, and a wave that does not end in time counts for no model: otherwise
short replies would be more frequent among those that remain. The first wave is small, so that a slow model has some
figures, and the next ones are larger where more rows at once are cheaper.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

from thumbwheel.wire.recipe_sections import Evaluation

from app.checkpoints.samples.figures import Replies
from worker.evaluation.passes import Tell
from worker.evaluation.sampled_prompts import SampledPrompt
from worker.generation.capacity import rows_that_fit
from worker.generation.sampler import Request, Sampler, WrittenReply
from worker.generation.trial import way_of
from worker.generation.ways import BatchWay
from worker.training.data.packing import Pair
from worker.training.data.tokens import Ids, Tokens
from worker.training.forward.logprobs import Reading

#: Requests of the first wave, as a multiple of the rows that are read at once. Each other wave has twice as many, up to
#: the same multiple of the rows that are written at once.
WAVE = 4


class WritingEnded(Exception):
    """The share of a model is spent. Its text: minutes or tokens."""


class SamplingBudget:
    """The time and the tokens of all models, of which each may take an equal share of what is left."""

    def __init__(self, settings: Evaluation, models: int) -> None:
        self._settings, self._models_left = settings, models
        self.seconds, self.tokens = 0.0, 0  # spent so far

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """Yields a function that counts the tokens of the next model, and raises `WritingEnded` beyond its share."""
        begun = time.monotonic()
        latest = begun + (60 * self._settings.sample_minutes - self.seconds) / self._models_left
        most = self.tokens + (self._settings.sample_tokens - self.tokens) // self._models_left

        def count(tokens: int) -> None:
            self.tokens += tokens
            if time.monotonic() > latest:
                raise WritingEnded("minutes")
            if self.tokens > most:
                raise WritingEnded("tokens")

        try:
            yield count
        finally:
            self._models_left -= 1
            self.seconds += time.monotonic() - begun


@dataclass
class WrittenReplies:
    """The replies of one model: the greedy ones to all prompts, the others to the held-out prompts."""

    greedy: list[WrittenReply] = field(default_factory=list)
    sampled: list[WrittenReply] = field(default_factory=list)
    drawn: list[WrittenReply] = field(default_factory=list)  # at temperature 1


@dataclass(frozen=True)
class WriterSettings:
    """The settings that writers of one run share.

    context         the model's context in tokens; None if it is not limited
    most            tokens of the longest completion
    read_at_once    rows in one forward
    as_many_as_fit  whether more rows are written together if memory holds them
    stop            called between tokens; it may raise
    """

    evaluation: Evaluation
    seed: int
    tokens: Tokens
    budget: SamplingBudget
    context: int | None
    most: int
    read_at_once: int
    as_many_as_fit: bool
    stop: Callable[[], None]


class ReplyWriter:
    """Writes the replies of one model after another.

    `usable` is the number of prompts that all models so far have answered; `stopped_by` the limit that ended them.
    """

    def __init__(
        self, settings: WriterSettings, prompts: Sequence[SampledPrompt], ids: Sequence[Ids], streams: Sequence[int]
    ) -> None:
        """Prepares the writer.

        prompts  the held-out ones first, those that are replayed last
        ids      the tokens of each prompt, with room for a completion
        streams  the number of each prompt, which decides its random numbers
        """
        self._settings, self._prompts, self.ids, self._streams = settings, prompts, ids, streams
        self.replayed_from = sum(prompt.answer is None for prompt in prompts)
        self._way: BatchWay | None = None
        self.rows_at_once = settings.read_at_once
        self.usable = len(prompts)
        self.stopped_by: str | None = None

    @property
    def held_out(self) -> int:
        """The number of held-out prompts that all models so far have answered; they come first."""
        return sum(prompt.held_out for prompt in self._prompts[: self.usable])

    def write(self, reading: Reading, tell: Tell) -> WrittenReplies:
        """Returns the replies of a model."""
        settings, written = self._settings, WrittenReplies()
        with settings.budget.share() as count:
            if self._way is None:
                self._way = way_of(
                    reading.model, self.ids, room=settings.context, between_tokens=lambda _: settings.stop()
                )
                if settings.as_many_as_fit:
                    self.rows_at_once = rows_that_fit(
                        reading.model, self._way, self.ids, settings.most, reading.precision,
                        at_least=settings.read_at_once,
                    )  # fmt: skip
            sampler = Sampler(
                reading.model, self._way, settings.tokens.ends,
                rows_at_once=self.rows_at_once, read_at_once=settings.read_at_once,
                seed=settings.seed, precision=reading.precision,
            )  # fmt: skip
            done = 0
            for wave in self._waves():
                try:
                    self._write_wave(sampler, wave, written, count)
                except WritingEnded as spent:
                    self.usable, self.stopped_by = done, str(spent)
                    break
                done = wave.stop
                tell(len(wave))
        return written

    def draws(self, written: WrittenReplies) -> list[Pair]:
        """Returns the completions at temperature 1 for held-out prompts, with their prompts."""
        drawn = written.drawn[: self.held_out]
        return [(ids, completion.tokens) for ids, completion in zip(self.ids, drawn, strict=False)]

    def _waves(self) -> Iterator[range]:
        per_prompt = 2 if self._settings.evaluation.temperature == 1 else 3
        start, size, largest = (
            0,
            *(max(1, WAVE * rows // per_prompt) for rows in (self._settings.read_at_once, self.rows_at_once)),
        )
        replayed_from = self.replayed_from
        while start < self.usable:
            end = min(start + size, self.usable, replayed_from if start < replayed_from else self.usable)
            yield range(start, end)
            start, size = end, min(2 * size, largest)

    def _write_wave(self, sampler: Sampler, wave: range, written: WrittenReplies, count: Callable[[int], None]) -> None:
        temperature = self._settings.evaluation.temperature
        held_out = [number for number in wave if self._prompts[number].held_out]
        kinds = [(written.greedy, wave, 0.0), (written.sampled, held_out, temperature)]
        if temperature != 1:
            kinds.append((written.drawn, held_out, 1.0))
        requests = [
            Request(self.ids[number], degrees, self._settings.most, stream=len(kinds) * self._streams[number] + kind)
            for kind, (_, numbers, degrees) in enumerate(kinds)
            for number in numbers
        ]

        def between_tokens(tokens: int) -> None:
            self._settings.stop()
            count(tokens)

        completions = iter(sampler.write(requests, between_tokens))
        for kept, numbers, _ in kinds:
            kept.extend(islice(completions, len(numbers)))
        if temperature == 1:
            written.drawn = written.sampled


def texts_of(tokens: Tokens, completions: Sequence[WrittenReply]) -> list[str]:
    """Returns the texts of completions without control tokens."""
    if not completions:
        return []  # the tokenizer would take them for one empty text
    texts: list[str] = tokens.tokenizer.batch_decode(
        [completion.tokens for completion in completions],
        skip_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )
    return texts


def replies_of(tokens: Tokens, completions: Sequence[WrittenReply]) -> Replies:
    """Returns the measures of completions."""
    lengths = [len(completion.tokens) for completion in completions]
    return Replies.of(texts_of(tokens, completions), lengths, [completion.finished for completion in completions])
