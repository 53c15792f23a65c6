"""Writes samples of candidate, shipped checkpoint and ancestor for the same prompts, and computes their figures.

Held-out prompts get the most probable reply, one at the serving temperature and, for the KL, one at temperature 1: the
same one if the serving temperature is 1. Prompts of suites and of replayed answers get the most probable reply. Models
have the same random numbers for a prompt, so equal models write equal replies.

The stage is bounded by `evaluation.sample_minutes` and `evaluation.sample_tokens`, of which each model may take an
equal share. Prompts are sampled in waves, in random order, and a wave that does not end in time counts for no model:
otherwise short replies would be more frequent among those that remain. The first wave is small, so that a slow model
has some figures, and the next ones are larger where more rows at once are cheaper. Replayed prompts come last, in waves
of their own, the newest answers first, so a model's limit costs them first.

Legend: N replies.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from app.checkpoints.replay import figures as replay
from app.checkpoints.samples import files
from app.checkpoints.samples.figures import Replies, compared, figures_of, over_prompts_of, unchanged, with_groups
from app.suites.figures import Intervals
from worker.evaluation.passes import Array, Tell, log_probs
from worker.evaluation.sample_figures import drift_figures, length_figures
from worker.evaluation.sampled_prompts import SampledPrompt
from worker.generation.capacity import rows_that_fit
from worker.generation.prompts import with_room
from worker.generation.sampler import Request, Sampler, WrittenReply
from worker.generation.trial import way_of
from worker.generation.ways import BatchWay
from worker.training.data.packing import Pair
from worker.training.data.tokens import Tokens
from worker.training.files.sealed import replace_sealed
from worker.training.forward.logprobs import Reading
from worker.training.job import Job
from worker.training.watch.kl_estimate import drift_of_tokens

#: Requests of the first wave, as a multiple of the rows that are read at once. Each other wave has twice as many, up to
#: the same multiple of the rows that are written at once.
WAVE = 4


class _BudgetSpent(Exception):
    """The share of a model is spent. Its text: minutes or tokens."""


@dataclass
class _Written:
    """The replies of one model: the greedy ones to all prompts, the others to the held-out prompts."""

    greedy: list[WrittenReply] = field(default_factory=list)
    sampled: list[WrittenReply] = field(default_factory=list)
    drawn: list[WrittenReply] = field(default_factory=list)  # at temperature 1


class Samples:
    """The samples of a run, written model by model."""

    def __init__(
        self,
        job: Job,
        prompts: Sequence[SampledPrompt],
        missing: int,
        tokens: Tokens,
        *,
        context: int | None,
        most: int,
        read_at_once: int,
        as_many_as_fit: bool,
        models: int,
        stop: Callable[[], None],
    ) -> None:
        """Prepares the stage.

        prompts         the held-out ones first, those that are replayed last
        missing         the number of prompts of suites that the model cannot read
        most            tokens of the longest completion
        read_at_once    rows in one forward
        as_many_as_fit  whether more rows are written together if memory holds them
        models          the number of models that will be sampled
        stop            called between tokens; it may raise
        """
        self._settings, self._seed, self._job = job.recipe.evaluation, job.recipe.seed, job
        self._prompts, self._missing, self._tokens = prompts, missing, tokens
        self._context, self._most = context, most
        self._read_at_once, self._as_many_as_fit, self._rows_at_once = read_at_once, as_many_as_fit, read_at_once
        self._ids = [with_room(prompt.ids, most, context) for prompt in prompts]
        self._replayed_from = sum(prompt.answer is None for prompt in prompts)
        self._models_left, self._stop = models, stop
        self._way: BatchWay | None = None
        self._written: dict[str, _Written] = {}
        self._lp: dict[str, list[Array]] = {}  # of the candidate's draws, by model
        self._usable = len(prompts)
        self._stopped_by: str | None = None
        self._seconds, self._count = 0.0, 0

    @property
    def steps(self) -> int:
        """The number of steps of progress that one model takes."""
        return len(self._prompts) + sum(prompt.held_out for prompt in self._prompts)

    def write(self, name: str, reading: Reading, tell: Tell) -> None:
        """Samples from the model and reads the candidate's draws with it. The candidate comes first."""
        begun = time.monotonic()
        written = self._written[name] = _Written()
        if self._way is None:
            self._way = way_of(reading.model, self._ids, room=self._context, between_tokens=lambda _: self._stop())
            if self._as_many_as_fit:
                self._rows_at_once = rows_that_fit(
                    reading.model, self._way, self._ids, self._most, reading.precision, at_least=self._read_at_once
                )
        ends = self._tokens.ends
        sampler = Sampler(
            reading.model, self._way, ends,
            rows_at_once=self._rows_at_once, read_at_once=self._read_at_once,
            seed=self._seed, precision=reading.precision,
        )  # fmt: skip
        limits = (
            begun + (60 * self._settings.sample_minutes - self._seconds) / self._models_left,
            self._count + (self._settings.sample_tokens - self._count) // self._models_left,
        )
        done, counted = 0, 0

        def count(steps: int) -> None:
            nonlocal counted
            counted += steps
            tell(steps)

        for wave in self._waves():
            try:
                self._write_wave(sampler, wave, written, limits)
            except _BudgetSpent as spent:
                self._usable, self._stopped_by = done, str(spent)
                break
            done = wave.stop
            count(len(wave))
        self._models_left -= 1
        self._seconds += time.monotonic() - begun
        pairs = self._draws("candidate")
        self._lp[name] = log_probs(reading, pairs, None, self._read_at_once, count)[0]
        tell(self.steps - counted)  # those that were left out

    def same_as(self, name: str, other: str) -> None:
        """Records that the model `name` is the model `other`, which was sampled."""
        self._written[name], self._lp[name] = self._written[other], self._lp[other]

    def _waves(self) -> Iterator[range]:
        per_prompt = 2 if self._settings.temperature == 1 else 3
        start, size, largest = (
            0,
            *(max(1, WAVE * rows // per_prompt) for rows in (self._read_at_once, self._rows_at_once)),
        )
        replayed_from = self._replayed_from
        while start < self._usable:
            end = min(start + size, self._usable, replayed_from if start < replayed_from else self._usable)
            yield range(start, end)
            start, size = end, min(2 * size, largest)

    def _write_wave(self, sampler: Sampler, wave: range, written: _Written, limits: tuple[float, int]) -> None:
        temperature = self._settings.temperature
        held_out = [number for number in wave if self._prompts[number].held_out]
        kinds = [(written.greedy, wave, 0.0), (written.sampled, held_out, temperature)]
        if temperature != 1:
            kinds.append((written.drawn, held_out, 1.0))
        requests = [
            Request(self._ids[number], degrees, self._most, stream=len(kinds) * number + kind)
            for kind, (_, numbers, degrees) in enumerate(kinds)
            for number in numbers
        ]

        def between_tokens(tokens: int) -> None:
            self._stop()
            self._count += tokens
            if time.monotonic() > limits[0]:
                raise _BudgetSpent("minutes")
            if self._count > limits[1]:
                raise _BudgetSpent("tokens")

        completions = iter(sampler.write(requests, between_tokens))
        for kept, numbers, _ in kinds:
            kept.extend(islice(completions, len(numbers)))
        if temperature == 1:
            written.drawn = written.sampled

    def _sources(self) -> list[files.Source]:
        """Returns the sources of the prompts that all models so far have answered."""
        return [prompt.source for prompt in self._prompts[: self._usable]]

    def _held_out(self) -> int:
        """Returns the number of held-out prompts that all models so far have answered; they come first."""
        return self._sources().count("holdout")

    def _replayed(self) -> list[replay.ReplayedAnswer]:
        places = [number for number, source in enumerate(self._sources()) if source in files.REPLAYED]
        replies: dict[str, list[replay.Reply]] = {}
        for name in replay.MODELS:
            greedy = [self._written[name].greedy[number] for number in places]
            texts = zip(self._texts(greedy), greedy, strict=True)
            replies[name] = [replay.Reply(text, written.finished) for text, written in texts]
        answers = [self._prompts[number].answer for number in places]
        return [
            replay.ReplayedAnswer(
                answer.text,
                desirable=answer.desirable,
                held_out=answer.split == "holdout",
                replies={name: of_model[index] for name, of_model in replies.items()},
            )
            for index, answer in enumerate(answers)
            if answer is not None
        ]

    def _draws(self, name: str) -> list[Pair]:
        drawn = self._written[name].drawn[: self._held_out()]
        return [(ids, completion.tokens) for ids, completion in zip(self._ids, drawn, strict=False)]

    def figures(self, holdout_lengths: Sequence[int]) -> dict[str, Any]:
        """Returns the figures for scores.json: kl, length, samples, replay. `holdout_lengths`: tokens of held-out
        rows.
        """
        settings, count = self._settings, self._held_out()
        over_prompts = over_prompts_of(count, settings.bootstrap, settings.confidence, self._seed)
        bounds = (settings.bootstrap, settings.confidence, self._seed)
        replies = {name: self._replies(written.sampled[:count]) for name, written in self._written.items()}
        greedy = {name: self._texts(written.greedy[:count]) for name, written in self._written.items()}
        drift = {other: drift_figures(self._drift(other), *bounds) for other in ("shipped", "ancestor")}
        against = {
            f"against_{other}": {
                **compared(replies["candidate"], replies[other], over_prompts),
                **unchanged(greedy["candidate"], greedy[other], over_prompts),
                **with_groups({f"kl_{unit}": drift[other][unit] for unit in UNITS}, over_prompts),
            }
            for other in ("shipped", "ancestor")
        }
        return {
            "kl": drift["shipped"],
            "length": length_figures(self._draws("candidate"), self._draws("shipped"), holdout_lengths),
            "samples": {
                "prompts": {"holdout": count, "suites": self._sources().count("suite")},
                "prompts_missing": self._missing,
                "max_new_tokens": self._most,
                "temperature": settings.temperature,
                "seconds": self._seconds,
                "tokens": self._count,
                "tokens_per_second": self._count / self._seconds if self._count else None,
                "rows_at_once": self._rows_at_once,
                "stopped_by": self._stopped_by if self._usable < self._replayed_from else None,
                **{name: figures_of(replies[name], over_prompts) for name in files.MODELS},
                **against,
            },
            "replay": {**replay.figures_of(self._replayed(), Intervals(*bounds)), "stopped_by": self._stopped_by},
        }

    def keep(self, path: Path) -> None:
        """Writes samples.parquet, with its seal."""
        rows = [
            self._row(number, model, decoding)
            for number in range(self._usable)
            for decoding in (("greedy", "sampled") if self._prompts[number].held_out else ("greedy",))
            for model in files.MODELS
        ]
        part = path.with_name(f".{path.name}.part")
        files.write(part, pa.Table.from_pylist(rows, files.SCHEMA))
        replace_sealed(part, path)

    def _row(self, number: int, model: str, decoding: str) -> dict[str, Any]:
        prompt, written = self._prompts[number], self._written[model]
        completion = (written.greedy if decoding == "greedy" else written.sampled)[number]
        known = decoding == "sampled" and model == "candidate" and self._settings.temperature == 1
        lp = {f"lp_{name}": float(self._lp[name][number].sum()) if known else None for name in files.MODELS}
        [text] = self._texts([completion])
        answer = prompt.answer
        return {
            "source": prompt.source,
            "suite": prompt.suite, "test": prompt.test, "prompt_label": prompt.label,
            "group": prompt.group, "prompt": prompt.text, "model": model, "decoding": decoding,
            "completion": text, "tokens": len(completion.tokens), "finished": completion.finished,
            **lp,
            "completion_id": answer and answer.completion_id, "answer": answer and answer.text,
            "split": answer and answer.split,
        }  # fmt: skip

    def _texts(self, completions: Sequence[WrittenReply]) -> list[str]:
        tokens = [completion.tokens for completion in completions]
        if not tokens:
            return []  # the tokenizer would take them for one empty text
        texts: list[str] = self._tokens.tokenizer.batch_decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return texts

    def _replies(self, completions: Sequence[WrittenReply]) -> Replies:
        lengths = [len(completion.tokens) for completion in completions]
        return Replies.of(self._texts(completions), lengths, [completion.finished for completion in completions])

    def _drift(self, other: str) -> list[Array]:
        candidate, others = (self._lp[name][: self._held_out()] for name in ("candidate", other))
        return [drift_of_tokens(p, q) for p, q in zip(candidate, others, strict=True)]


UNITS = ("nats_per_token", "nats_per_completion")
