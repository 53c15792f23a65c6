"""Measures the reference with `evaluation.few_shots` examples before each prompt: a prompt, not a checkpoint.

It answers the sampled prompts of holdout and suites like the other models, and reads the held-out rows. It is compared
with the reference on the same prompts without examples, which is what the candidate is compared with:

    auroc     of log p(y | examples, x) − log p(y | x) against the label
    kl        drift from the reference without examples, on its own replies at temperature 1 (k3 estimator)
    samples   figures of its replies, and `against_shipped`

Rows and prompts that do not fit into the context with the examples are left out and counted (see `few_shot_prompts`).

Legend: N held-out rows.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from app.checkpoints import few_shots as files
from app.checkpoints import held_out_scores
from app.checkpoints.samples import files as samples_files
from app.checkpoints.samples.figures import compared, figures_of, over_prompts_of, unchanged
from app.statistics import measures
from app.statistics.bootstrap import Bootstrap
from worker.evaluation.few_shot_prompts import FewShotPrompts
from worker.evaluation.passes import Array, Tell, log_probs, sums
from worker.evaluation.reply_writer import ReplyWriter, WrittenReplies, replies_of, texts_of
from worker.evaluation.sample_figures import drift_figures
from worker.evaluation.sampling import Samples
from worker.training.data.tokens import Tokens
from worker.training.files.sealed import replace_sealed
from worker.training.forward.logprobs import Reading
from worker.training.job import Job
from worker.training.watch.kl_estimate import drift_of_tokens

NOTHING = {"value": None, "low": None, "high": None}


class FewShots:
    """The prompts with examples, and what the reference makes of them."""

    def __init__(self, job: Job, tokens: Tokens, prompts: FewShotPrompts) -> None:
        self._job, self._tokens, self._prompts = job, tokens, prompts
        self._written = WrittenReplies()
        self._writer: ReplyWriter | None = None
        self._own_N: Array = np.empty(0)
        self._lp: tuple[list[Array], list[Array]] = [], []  # of its draws, with and without examples

    @property
    def models(self) -> int:
        """The number of models that this samples from."""
        return int(self._prompts.reason is None)

    @property
    def steps(self) -> int:
        """The number of steps of progress."""
        prompts = self._prompts
        if prompts.reason is not None:
            return 0
        held_out = sum(prompts.prompts[number].held_out for number in prompts.numbers)
        return len(prompts.pairs) + len(prompts.numbers) + 2 * held_out

    def measure(self, reading: Reading, samples: Samples, tell: Tell) -> None:
        """Reads and writes with the reference, which `samples` has sampled, unless there is nothing to measure."""
        prompts = self._prompts
        if prompts.reason is not None:
            return
        counted = 0

        def count(steps: int) -> None:
            nonlocal counted
            counted += steps
            tell(steps)

        # As many tokens at once as without examples.
        shorter = max((row.length for row in prompts.in_order), default=1)
        longer = max((len(prompt) + len(completion) for prompt, completion in prompts.pairs), default=1)
        at_once = max(1, samples.settings.read_at_once * shorter // longer)
        self._own_N = sums(log_probs(reading, prompts.pairs, None, at_once, count)[0])
        chosen = [prompts.prompts[number] for number in prompts.numbers]
        settings = replace(samples.settings, read_at_once=at_once)
        self._writer = ReplyWriter(settings, chosen, prompts.ids, prompts.numbers)
        self._written = self._writer.write(reading, count)
        # The reference without examples may have ended earlier.
        answered = sum(number < samples.writer.usable for number in prompts.numbers)
        self._writer.usable = min(self._writer.usable, answered)
        draws = self._writer.draws(self._written)
        plain = [
            (samples.writer.ids[number], reply) for number, (_, reply) in zip(prompts.numbers, draws, strict=False)
        ]
        self._lp = (
            log_probs(reading, draws, None, at_once, count)[0],
            log_probs(reading, plain, None, samples.settings.read_at_once, count)[0],
        )
        tell(self.steps - counted)  # those that were left out

    def figures(self, samples: Samples, own_reference_N: Array, over_rows: Bootstrap, absent: str) -> dict[str, Any]:
        """Returns the section of scores.json; nothing if the recipe asks for none.

        own_reference_N  log-prob of each row's completion under the reference without examples
        over_rows        the bootstrap of all held-out rows
        absent           the reason for a missing figure if the rows are of one class
        """
        prompts = self._prompts
        if not prompts.count:
            return {}
        settings, seed = self._job.recipe.evaluation, self._job.recipe.seed
        bounds = (settings.bootstrap, settings.confidence, seed)
        about = {
            "count": prompts.count,
            "examples": [
                {"for": kind, "shard": each.place[0], "row": each.place[1]}
                for kind, of_kind in prompts.examples.items()
                for each in of_kind
            ],
            "reason": prompts.reason,
            "rows_left_out": len(prompts.in_order) - len(prompts.rows),
            "prompts_left_out": len(prompts.prompts) - len(prompts.numbers),
        }
        if self._writer is None:
            nothing = {**NOTHING, "reason": prompts.reason}
            drift = {"nats_per_token": nothing, "nats_per_completion": nothing, "samples": 0}
            missing = {"auroc": nothing, "kl": drift, "samples": {"against_shipped": {"length_ratio": nothing}}}
            return {"few_shots": about | missing}
        over_kept = over_rows.restricted_to(np.array(prompts.rows))
        desirable_N = np.array([prompts.in_order[row].desirable for row in prompts.rows], dtype=bool)
        ratio_N = self._log_ratio_N(own_reference_N)
        held_out, usable = self._writer.held_out, self._writer.usable
        numbers, tokens, shipped = prompts.numbers[:held_out], self._tokens, samples.written["shipped"]
        over_prompts = over_prompts_of(held_out, *bounds)
        own = replies_of(tokens, self._written.sampled[:held_out])
        others = replies_of(tokens, [shipped.sampled[number] for number in numbers])
        greedy = texts_of(tokens, self._written.greedy[:held_out])
        other_greedy = texts_of(tokens, [shipped.greedy[number] for number in numbers])
        drift_by_reply = [drift_of_tokens(*pair) for pair in zip(*self._lp, strict=True)]
        section = {
            **about,
            "stopped_by": self._writer.stopped_by,
            "auroc": (
                over_kept.interval(measures.auroc(ratio_N, desirable_N), absent)
                if np.isfinite(ratio_N).all()
                else {**NOTHING, "reason": "the reference gives NaN or infinite log-probs with the examples"}
            ),
            "kl": drift_figures(drift_by_reply, *bounds),
            "samples": {
                "prompts": {"holdout": held_out, "suites": usable - held_out},
                **figures_of(own, over_prompts),
                "against_shipped": {
                    **compared(own, others, over_prompts),
                    **unchanged(greedy, other_greedy, over_prompts),
                },
            },
        }
        return {"few_shots": section}

    def keep(
        self, workdir: Path, samples: Samples, own_reference_N: Array, every: held_out_scores.HeldOutScores
    ) -> None:
        """Writes the files of `app.checkpoints.few_shots`, and few_shots.parquet, its replies to the suites, which the
        worker grades and removes. `every`: the scores of all held-out rows.
        """
        if self._writer is None:
            return
        of_rows = every.of([every.places[row] for row in self._prompts.rows])
        of_rows = of_rows._replace(log_ratio_N=self._log_ratio_N(own_reference_N).astype(np.float64))
        part = workdir / f".{files.SCORES}.part"
        held_out_scores.write(part, of_rows)
        replace_sealed(part, workdir / files.SCORES)
        part = workdir / f".{files.REPLIES}.part"
        files.write(part, self._replies(samples))
        replace_sealed(part, workdir / files.REPLIES)
        part = workdir / f".{files.OUTPUTS}.part"
        samples_files.write(part, pa.Table.from_pylist(self._outputs(), samples_files.SCHEMA))
        replace_sealed(part, workdir / files.OUTPUTS)

    def _replies(self, samples: Samples) -> list[files.FewShotReply]:
        assert self._writer is not None
        known = self._job.recipe.evaluation.temperature == 1
        sampled = self._written.sampled[: self._writer.held_out]
        return [
            files.FewShotReply(
                number,
                samples.writer.held_out,
                len(reply.tokens),
                *(float(lp_C.sum()) if known else None for lp_C in (own_C, plain_C)),
            )
            for number, reply, own_C, plain_C in zip(self._prompts.numbers, sampled, *self._lp, strict=False)
        ]

    def _outputs(self) -> list[dict[str, Any]]:
        """Returns the replies to prompts of suites, as samples.parquet has them."""
        assert self._writer is not None
        of_suites = range(self._writer.held_out, self._writer.usable)
        greedy = [self._written.greedy[place] for place in of_suites]
        prompts = [self._prompts.prompts[self._prompts.numbers[place]] for place in of_suites]
        return [
            {
                "source": prompt.source, "suite": prompt.suite, "test": prompt.test, "prompt_label": prompt.label,
                "group": prompt.group, "prompt": prompt.text, "model": files.FEW_SHOTS, "decoding": "greedy",
                "completion": text, "tokens": len(reply.tokens), "finished": reply.finished,
            }
            for prompt, reply, text in zip(prompts, greedy, texts_of(self._tokens, greedy), strict=True)
        ]  # fmt: skip

    def _log_ratio_N(self, own_reference_N: Array) -> Array:
        return np.asarray(self._own_N - own_reference_N[self._prompts.rows])
