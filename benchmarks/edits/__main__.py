"""`make study-edits`: what it gives to punish only what an edit changed, on real post-edits of translations.

A tiny pretrained model first imitates machine translations. Then it learns from some of them, undesirable, and from
what translators made of them, desirable: by `kto`, and by `tkto` with several weights of the kept tokens. Held-out
edits show whether the model prefers edited texts, and whether it knows which tokens of an original were changed. The
trainings are those of `thumbwheel train`.

Needs post-edits and a model in the folder --data and says so without them. Progress goes to stderr, a table and, in the
last line, all figures as one JSON object go to stdout. A whole study is also written to --out. Exit codes: 0 done or
nothing to read, 2 invalid arguments.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import fmean, stdev
from typing import Any, NamedTuple

import torch

from app.durable import write_atomically
from benchmarks.edits.figures import figures_of, held_out, scores_by
from benchmarks.edits.segments import LANGUAGES, imitated_rows, rows_of, segments_in
from benchmarks.machine import described
from worker.training.machine.process import StopRequest
from worker.training.standalone.folder import Folder
from worker.training.standalone.request import TrainingRequest
from worker.training.standalone.training import stage
from worker.training.train import train

ROOT = Path(__file__).parents[2]
EVENTS, MODEL = "events/mlqe_post_edits.jsonl.gz", "models/stories260K"
SEEDS = (1, 2, 3)
#: Edited segments that a training learns from, two rows of each.
SEGMENTS = 400
RECIPE: Mapping[str, Any] = {
    "method": "full", "beta": 0.5, "learning_rate": 3e-4, "schedule": "cosine", "batch_size": 32,
    "micro_batch_size": 16, "epochs": 2, "max_length": 256, "save_every_steps": 1000, "drift": {"checks": 0},
}  # fmt: skip


IMITATION: Mapping[str, Any] = {**RECIPE, "objective": "sft", "learning_rate": 1e-3}


class Condition(NamedTuple):
    name: str
    changes: Mapping[str, Any]
    elsewhere: bool = False  # kept words at random


CONDITIONS = (
    Condition("kto", {"objective": "kto"}),
    *(
        Condition(f"tkto, kept {weight:g}", {"objective": "tkto", "edit_kept_weight": weight})
        for weight in (1.0, 0.3, 0.1, 0.0)
    ),
    Condition("tkto, kept 0.1, at random", {"objective": "tkto", "edit_kept_weight": 0.1}, elsewhere=True),
)


def main() -> int:
    options = _options()
    events, base = options.data / EVENTS, options.data / MODEL
    missing = [str(path) for path in (events, base) if not path.exists()]
    if missing:
        print(f"Skipped: there is no {missing[0]}. Name a folder that has {EVENTS} and {MODEL} by --data.")
        return 0
    torch.set_num_threads(1)
    started = time.process_time()
    segments = list(segments_in(events))
    rows = held_out(base, [segment for segment in segments if segment.held_out])
    learnt = [segment for segment in segments if not segment.held_out]
    results: dict[str, list[dict[str, float]]] = {condition.name: [] for condition in CONDITIONS}
    with tempfile.TemporaryDirectory(prefix="thumbwheel-edits-") as folder:
        writer = _train(Path(folder) / "writer", base, imitated_rows(learnt), IMITATION)
        of_writer = scores_by(writer, rows)
        for seed in options.seeds:
            some = Random(f"segments {seed}").sample(learnt, SEGMENTS)
            for number, condition in enumerate(CONDITIONS):
                changes = {**RECIPE, **condition.changes, "seed": seed}
                edits = rows_of(some, seed, elsewhere=condition.elsewhere)
                output = _train(Path(folder) / f"{seed}-{number}", writer, edits, changes)
                figures = figures_of(scores_by(output, rows).minus(of_writer), rows)
                results[condition.name].append(figures)
                shown = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
                print(f"seed {seed}, {condition.name}: {shown}", file=sys.stderr, flush=True)
    report = {
        "study": "edits",
        "segments": {
            "imitated": len(learnt),
            "trained": SEGMENTS,
            "held_out": len(rows.originals),
            "languages": LANGUAGES,
        },
        "kept_share": 1 - fmean(float(changed.mean()) for changed in rows.changed),
        "model": MODEL,
        "recipe": dict(RECIPE),
        "seeds": options.seeds,
        "before": figures_of(of_writer, rows),
        "conditions": results,
        "processor_seconds": round(time.process_time() - started, 1),
        "machine": {**described("torch", "transformers"), "threads": 1},
    }
    print(_table(report))
    if tuple(options.seeds) == SEEDS:
        write_atomically(options.out, (json.dumps(report, indent=1) + "\n").encode())
    print(json.dumps(report))
    return 0


def _train(folder: Path, base: Path, rows: Sequence[Mapping[str, Any]], changes: Mapping[str, Any]) -> Path:
    """Trains as `thumbwheel train` does; returns the folder of the trained model."""
    folder.mkdir()
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    request = TrainingRequest(
        data=(data,), model=base, out=folder / "out", holdout=0, evaluate=False, changes=dict(changes)
    )  # fmt: skip
    place = Folder(request.out)
    with place.alone():
        stage(place, request, StopRequest())
    train(place.work)
    return place.work / "output"


def _table(report: Mapping[str, Any]) -> str:
    names = list(report["before"])
    lines = [["condition", *names], ["---"] * (1 + len(names))]
    lines.append(["before, its log-probs", *(f"{report['before'][name]:.3f}" for name in names)])
    for condition, by_seed in report["conditions"].items():
        lines.append([condition, *(_cell([figures[name] for figures in by_seed]) for name in names)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(values: list[float]) -> str:
    """Returns the mean over seeds, and their standard deviation."""
    return f"{fmean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="study-edits", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder with events/, models/"
    )
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=list(SEEDS))
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "edits.json")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
