"""One condition on one desk: a WORKDIR as the service stages it, the training, and the measurement of its model."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import nan
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from thumbwheel.wire.recipe import recipe_of
from thumbwheel.wire.recipe_resolution import resolve

from app.statistics.measures import auroc
from benchmarks.desk_study.workdir import Example, stage, training_figures
from benchmarks.kto_study.conditions import Condition
from benchmarks.kto_study.desk import Desk, Size, tickets_of
from worker.demo import sampling
from worker.demo.language import reasons_against
from worker.demo.measure import kl_nats, measured
from worker.demo.sampling import SampledReply, log_probabilities
from worker.training.train import train

PRESET = "cpu-demo"


def figures_of(workdir: Path, condition: Condition, desk: Desk, seed: int, size: Size) -> dict[str, Any]:
    """Trains `condition` in `workdir`, resuming an interrupted training, and returns the figures of the model."""
    if not (workdir / "job.json").exists():
        stage_condition(workdir, condition, desk, seed)
    train(workdir)
    return {**training_figures(workdir), **_measured(workdir / "output", desk, seed, size)}


def stage_condition(workdir: Path, condition: Condition, desk: Desk, seed: int) -> None:
    rows = treated(desk.train, condition, seed)
    desirable = sum(row.desirable for row in rows)
    recipe = recipe_of(PRESET, {"seed": seed, **condition.recipe})
    recipe = resolve(recipe, desirable, len(rows) - desirable)
    stage(workdir, f"{condition.name}-{seed}", desk.base, rows, recipe)


def treated(rows: Sequence[Example], condition: Condition, seed: int) -> list[Example]:
    """Returns `rows` in their order, without those that `condition` drops and with its flipped labels, by the seed."""
    rng = Random(f"{condition.name} {seed}")
    by_class = {label: [index for index, row in enumerate(rows) if row.desirable == label] for label in (True, False)}
    flipped = {
        index for indices in by_class.values() for index in rng.sample(indices, round(condition.flipped * len(indices)))
    }
    dropped = set(rng.sample(by_class[True], round((1 - condition.keep_desirable) * len(by_class[True]))))
    return [
        replace(row, desirable=row.desirable != (index in flipped))
        for index, row in enumerate(rows)
        if index not in dropped
    ]


def _measured(output: Path, desk: Desk, seed: int, size: Size) -> dict[str, Any]:
    """Returns the demo's figures on tickets that no user saw, and the log-ratio's AUROC against the held-out votes."""
    model, base = sampling.load(output), sampling.load(desk.base)
    tickets = tickets_of(seed, size)
    figures = measured(model, tickets, seed)
    faults = Counter(
        reason for ticket, reply in zip(tickets, figures.replies, strict=True) for reason in
        reasons_against(ticket, reply.text)
    )  # fmt: skip
    held_out = [_draft(model, row) for row in desk.holdout]
    ratios = (log_probabilities(model, held_out) - log_probabilities(base, held_out)).numpy()
    desirable = np.array([row.desirable for row in desk.holdout])
    area = float(auroc(ratios, desirable)(np.ones((1, len(ratios))))[0]) if len(ratios) else nan
    return {
        "good_share": figures.good_share.value,
        "invented_refund_share": figures.invented_refund_share.value,
        "unclear_share": faults["unclear"] / len(tickets),
        "kl_nats": kl_nats(model, base, figures.replies).value,
        "length_ratio": figures.median_words / desk.base_figures["median_words"],
        "auroc": area,
    }


def _draft(desk: sampling.Desk, row: Example) -> SampledReply:
    """Returns a row as a sampled draft, with the end-of-text token that the trainer counts, too."""
    prompt_ids: list[int] = desk.tokenizer(row.prompt)["input_ids"]
    reply_ids: list[int] = desk.tokenizer(row.completion)["input_ids"]
    return SampledReply(prompt_ids, [*reply_ids, desk.tokenizer.eos_token_id], row.completion)
