"""Writes samples of candidate, shipped checkpoint and ancestor for the same prompts, and computes their figures.

Held-out prompts get the most probable reply, one at the serving temperature and, for the KL, one at temperature 1: the
same one if the serving temperature is 1. Prompts of suites and of replayed answers get the most probable reply. Models
have the same random numbers for a prompt, so equal models write equal replies.

The stage is bounded by `evaluation.sample_minutes` and `evaluation.sample_tokens`, of which each model may take an
equal share. Prompts are sampled in waves (see `reply_writer`), in random order. Replayed prompts come last, in waves of
their own, the newest answers first, so a model's limit costs them first.

Legend: N replies.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from app.checkpoints.replay import figures as replay
from app.checkpoints.samples import files
from app.checkpoints.samples.figures import compared, figures_of, over_prompts_of, unchanged, with_groups
from app.suites.figures import Intervals
from worker.evaluation.passes import Array, Tell, log_probs
from worker.evaluation.reply_writer import ReplyWriter, WriterSettings, WrittenReplies, replies_of, texts_of
from worker.evaluation.sample_figures import drift_figures, length_figures
from worker.evaluation.sampled_prompts import SampledPrompt
from worker.generation.prompts import with_room
from worker.training.data.packing import Pair
from worker.training.files.sealed import replace_sealed
from worker.training.forward.logprobs import Reading
from worker.training.watch.kl_estimate import drift_of_tokens


class Samples:
    """The samples of a run, written model by model."""

    def __init__(self, settings: WriterSettings, prompts: Sequence[SampledPrompt], missing: int) -> None:
        """Prepares the stage.

        prompts  the held-out ones first, those that are replayed last
        missing  the number of prompts of suites that the model cannot read
        """
        self.settings, self.prompts, self._missing = settings, prompts, missing
        ids = [with_room(prompt.ids, settings.most, settings.context) for prompt in prompts]
        self.writer = ReplyWriter(settings, prompts, ids, range(len(prompts)))
        self.written: dict[str, WrittenReplies] = {}
        self._lp: dict[str, list[Array]] = {}  # of the candidate's draws, by model

    @property
    def steps(self) -> int:
        """The number of steps of progress that one model takes."""
        return len(self.prompts) + sum(prompt.held_out for prompt in self.prompts)

    def write(self, name: str, reading: Reading, tell: Tell) -> None:
        """Samples from the model and reads the candidate's draws with it. The candidate comes first."""
        counted = 0

        def count(steps: int) -> None:
            nonlocal counted
            counted += steps
            tell(steps)

        self.written[name] = self.writer.write(reading, count)
        pairs = self._draws("candidate")
        self._lp[name] = log_probs(reading, pairs, None, self.settings.read_at_once, count)[0]
        tell(self.steps - counted)  # those that were left out

    def same_as(self, name: str, other: str) -> None:
        """Records that the model `name` is the model `other`, which was sampled."""
        self.written[name], self._lp[name] = self.written[other], self._lp[other]

    def _sources(self) -> list[files.Source]:
        """Returns the sources of the prompts that all models so far have answered."""
        return [prompt.source for prompt in self.prompts[: self.writer.usable]]

    def _replayed(self) -> list[replay.ReplayedAnswer]:
        places = [number for number, source in enumerate(self._sources()) if source in files.REPLAYED]
        replies: dict[str, list[replay.Reply]] = {}
        for name in replay.MODELS:
            greedy = [self.written[name].greedy[number] for number in places]
            texts = zip(texts_of(self.settings.tokens, greedy), greedy, strict=True)
            replies[name] = [replay.Reply(text, written.finished) for text, written in texts]
        answers = [self.prompts[number].answer for number in places]
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
        return self.writer.draws(self.written[name])

    def figures(self, holdout_lengths: Sequence[int]) -> dict[str, Any]:
        """Returns the figures for scores.json: kl, length, samples, replay. `holdout_lengths`: tokens of held-out
        rows.
        """
        settings, count, tokens = self.settings.evaluation, self.writer.held_out, self.settings.tokens
        bounds = (settings.bootstrap, settings.confidence, self.settings.seed)
        over_prompts = over_prompts_of(count, *bounds)
        replies = {name: replies_of(tokens, written.sampled[:count]) for name, written in self.written.items()}
        greedy = {name: texts_of(tokens, written.greedy[:count]) for name, written in self.written.items()}
        budget, stopped_by = self.settings.budget, self.writer.stopped_by
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
                "max_new_tokens": self.settings.most,
                "temperature": settings.temperature,
                "seconds": budget.seconds,
                "tokens": budget.tokens,
                "tokens_per_second": budget.tokens / budget.seconds if budget.tokens else None,
                "rows_at_once": self.writer.rows_at_once,
                "stopped_by": stopped_by if self.writer.usable < self.writer.replayed_from else None,
                **{name: figures_of(replies[name], over_prompts) for name in files.MODELS},
                **against,
            },
            "replay": {**replay.figures_of(self._replayed(), Intervals(*bounds)), "stopped_by": stopped_by},
        }

    def keep(self, path: Path) -> None:
        """Writes samples.parquet, with its seal."""
        rows = [
            self._row(number, model, decoding)
            for number in range(self.writer.usable)
            for decoding in (("greedy", "sampled") if self.prompts[number].held_out else ("greedy",))
            for model in files.MODELS
        ]
        part = path.with_name(f".{path.name}.part")
        files.write(part, pa.Table.from_pylist(rows, files.SCHEMA))
        replace_sealed(part, path)

    def _row(self, number: int, model: str, decoding: str) -> dict[str, Any]:
        prompt, written = self.prompts[number], self.written[model]
        completion = (written.greedy if decoding == "greedy" else written.sampled)[number]
        known = decoding == "sampled" and model == "candidate" and self.settings.evaluation.temperature == 1
        lp = {f"lp_{name}": float(self._lp[name][number].sum()) if known else None for name in files.MODELS}
        [text] = texts_of(self.settings.tokens, [completion])
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

    def _drift(self, other: str) -> list[Array]:
        candidate, others = (self._lp[name][: self.writer.held_out] for name in ("candidate", other))
        return [drift_of_tokens(p, q) for p, q in zip(candidate, others, strict=True)]


UNITS = ("nats_per_token", "nats_per_completion")
