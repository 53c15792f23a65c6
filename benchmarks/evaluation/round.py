"""A round of the demo without its service: votes on the base model's replies, a training, and its evaluation."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console

from app.durable import write_atomically
from benchmarks.desk_study.workdir import Example, write_shard
from benchmarks.kto_study.conditions import Condition
from benchmarks.kto_study.desk import Size, made, tickets_of
from benchmarks.kto_study.trial import stage_condition
from worker.demo.language import typical_reply
from worker.demo.story import DRAFTS, EPOCHS, LEARNING_RATE
from worker.evaluation.score import score
from worker.training.train import train

SEED = 1
#: The votes on the replies give at least as many rows of each class, whatever the base model's rounding.
ROWS_PER_CLASS = 800
#: Tokens of the longest reply.
TOKENS = 64


@dataclass(frozen=True)
class Round:
    """A trained and scored WORKDIR. `prompts`: the held-out ones."""

    workdir: Path
    prompts: list[str]
    training_seconds: float
    scores: dict[str, Any]


def scored_round(folder: Path, prompts: int, console: Console, *, quick: bool) -> Round:
    """Trains the base model and a round as in the demo, and scores it with `prompts` held-out prompts.

    The ancestor is a copy of the shipped base model in a folder of its own, so three models are sampled.
    """
    size = Size(drafts=DRAFTS, rows_per_class=ROWS_PER_CLASS, tickets=2 * prompts)
    if quick:
        size = Size(drafts=600, rows_per_class=100, tickets=2 * prompts, base_steps=60)
    console.print("training the base model, collecting votes", highlight=False)
    desk = made(folder / "desk", SEED, size)
    tickets = tickets_of(SEED, size)[:prompts]
    rng = Random(SEED)
    held_out = [
        Example(ticket.prompt, typical_reply(ticket, rng), number % 2 == 0) for number, ticket in enumerate(tickets)
    ]
    # Without the replay, whose prompts `generate` does not get either.
    evaluation = {"kl_prompts": prompts, "kl_max_new_tokens": TOKENS, "replay": 0}
    workdir = folder / "round"
    stage_condition(
        workdir,
        Condition("evaluation", recipe={"learning_rate": LEARNING_RATE, "epochs": EPOCHS, "evaluation": evaluation}),
        desk,
        SEED,
    )
    manifest = json.loads((workdir / "snapshot" / "manifest.json").read_bytes())
    manifest["shards"].append(write_shard(workdir / "snapshot" / "holdout-text.parquet", held_out, "holdout"))
    write_atomically(workdir / "snapshot" / "manifest.json", json.dumps(manifest).encode())
    shutil.copytree(desk.base, folder / "ancestor")
    job = json.loads((workdir / "job.json").read_bytes())
    write_atomically(workdir / "job.json", json.dumps({**job, "ancestor": str(folder / "ancestor")}).encode())
    console.print("training a round", highlight=False)
    train(workdir)
    console.print("scoring it", highlight=False)
    score(workdir)
    summary = json.loads((workdir / "training.json").read_bytes())
    scores = json.loads((workdir / "scores.json").read_bytes())
    return Round(workdir, [ticket.prompt for ticket in tickets], summary["seconds"], scores)
