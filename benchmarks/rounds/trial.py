"""One round of one condition: the training, the judgement of its model, and the votes on it."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from thumbwheel.wire.recipe import recipe_of
from thumbwheel.wire.recipe_resolution import resolve

from app.durable import folder_atomically
from app.labels.audits.mislabelled import MislabelledShares, mislabelled_shares
from benchmarks.desk_study.outcomes import outcomes
from benchmarks.desk_study.tickets import different_tickets
from benchmarks.desk_study.workdir import Example, stage, training_figures
from benchmarks.rounds import votes
from benchmarks.rounds.conditions import Way
from benchmarks.rounds.losses import loss_of
from worker.demo import sampling
from worker.demo.base_model import STEPS, train_base_model
from worker.demo.language import Ticket
from worker.training.train import train

PRESET = "cpu-demo"
#: Files and folders of a finished trial.
MODEL, VOTES = "model", "votes.json"


@dataclass(frozen=True)
class Size:
    votes: int = 1800  # of a round
    tickets: int = 4000  # held out
    base_steps: int = STEPS


def tickets_of(seed: int, size: Size) -> list[Ticket]:
    return different_tickets(seed, "tickets", size.tickets, set())


def base_figures(workdir: Path, seed: int, size: Size) -> dict[str, Any]:
    """Trains the base model of a seed, keeps it and returns its figures."""
    folder = workdir.parent / MODEL
    if not (folder / "config.json").exists():
        with folder_atomically(folder) as unfinished:
            train_base_model(unfinished, seed, steps=size.base_steps)
    model = sampling.load(folder)
    return _figures(outcomes(model, {}, tickets_of(seed, size), seed))


def round_figures(
    workdir: Path, way: Way, number: int, before: Sequence[Path], seed: int, size: Size
) -> dict[str, Any]:
    """Trains round `number`, resuming an interrupted training, and returns the figures of its model.

    before   the folders of the trials of the base model and of all rounds before
    """
    live = before[-1] / MODEL
    reference, tickets = sampling.load(live), tickets_of(seed, size)
    rounds = [_votes_on(folder, seed, count, size.votes, tickets) for count, folder in enumerate(before, start=1)]
    if way.times_votes > 1:
        rounds = [votes.collected(reference, seed, number, way.times_votes * size.votes, tickets)]
    used = rounds[-1] if way.votes == "live" else [row for voted in rounds for row in voted]
    desirable = sum(row.desirable for row in used)
    wrong = votes.audited(used, seed)
    mislabelled = mislabelled_shares(desirable, len(used) - desirable, *wrong) if way.corrected else MislabelledShares()
    if not (workdir / "job.json").exists():
        examples = votes.examples_of(way, rounds, reference)
        _stage(workdir, way, number, examples, live, seed, mislabelled)
    with loss_of(way):
        train(workdir)
    figures = {**training_figures(workdir), "audited_wrong": wrong}
    model = sampling.load(workdir / "output", live)
    others = {"kl_base": sampling.load(before[0] / MODEL), "kl_previous": reference}
    figures |= _figures(outcomes(model, others, tickets, seed))
    shutil.rmtree(workdir.parent / MODEL, ignore_errors=True)
    shutil.copytree(workdir / "output", workdir.parent / MODEL)
    return figures


def _votes_on(folder: Path, seed: int, number: int, count: int, held_out: Sequence[Ticket]) -> list[votes.VotedRow]:
    """Returns the votes of round `number` on the model of the trial in `folder`, which keeps them for other trials."""
    path = folder / VOTES
    if not path.exists():
        votes.keep(path, votes.collected(sampling.load(folder / MODEL), seed, number, count, held_out))
    return votes.kept(path)


def _stage(
    workdir: Path,
    way: Way,
    number: int,
    rows: Sequence[Example],
    live: Path,
    seed: int,
    mislabelled: MislabelledShares,
) -> None:
    desirable, undesirable = (sum(row.weight for row in rows if row.desirable == side) for side in (True, False))
    changes: dict[str, Any] = {"seed": seed, "drift": {"checks": 0}, **way.recipe}
    changes |= {"mislabelled_good": mislabelled.good, "mislabelled_bad": mislabelled.bad}
    if way.kept != 1:
        changes["objective"] = "tkto"
    recipe = resolve(recipe_of(PRESET, changes), desirable, undesirable)
    stage(workdir, f"round-{number}-{seed}", live, rows, recipe)


def _figures(judged: dict[str, list[float]]) -> dict[str, Any]:
    names = {"good": "good_share", "invented_refund": "invented_refund_share", "unclear": "unclear_share"}
    return {
        **{names.get(name, name): fmean(values) for name, values in judged.items() if name != "words"},
        "words": sum(judged["words"]),
        "tickets": len(judged["good"]),
    }
