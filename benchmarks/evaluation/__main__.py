"""`make bench-evaluation`: the time of an evaluation's samples, and the sampler against `transformers.generate`.

The demo's model is trained for a round, as in the demo, and scored: candidate, shipped checkpoint and ancestor answer
500 held-out prompts of its desk twice, with 64 tokens at most. Then the same prompts are sampled by our sampler and by
`model.generate`, in alternation: for the trained model, whose replies end by themselves, and for a larger one of random
weights, whose replies seldom do.

Progress goes to stderr; a table and, in the last line, all figures as one JSON object go to stdout. A whole run also
writes them to benchmarks/results.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.evaluation.race import ROWS_OF_A_STEP, raced
from benchmarks.evaluation.round import Round, scored_round
from benchmarks.machine import described

RESULTS = Path(__file__).resolve().parents[1] / "results" / "evaluation.json"
PROMPTS, QUICK_PROMPTS = 500, 100
ROUNDS, QUICK_ROUNDS = 3, 2


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation", description="Measures an evaluation.")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_PROMPTS} prompts; writes no results")
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    prompts, rounds = (QUICK_PROMPTS, QUICK_ROUNDS) if options.quick else (PROMPTS, ROUNDS)
    with tempfile.TemporaryDirectory(prefix="thumbwheel-evaluation-") as folder:
        finished = scored_round(Path(folder), prompts, console, quick=options.quick)
        races = {
            name: raced(finished, rounds, console, larger=larger)
            for name, larger in (("demo_model", False), ("random_15M", True))
        }
    document = {
        "prompts": prompts,
        **figures_of(finished),
        **{name: race.figures() for name, race in races.items()},
        "machine": described("torch", "transformers"),
        "threads": torch.get_num_threads(),
    }
    table = Table("sampled by", "tokens/s", title="Sampling", title_justify="left")
    for name, race in races.items():
        for writer, rates in (
            (f"ours, {race.rows} rows", race.ours),
            (f"transformers.generate, {ROWS_OF_A_STEP} rows", race.theirs),
            (f"transformers.generate, {race.rows} rows", race.theirs_with_our_rows),
        ):
            table.add_row(f"{name}, {writer}", f"{median(rates):,.0f}")
    out = Console(width=None if sys.stdout.isatty() else 120)
    out.print(table)
    out.print(f"training {document['training_seconds']:.0f} s, samples {document['samples_seconds']:.0f} s")
    if not options.quick:
        RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))
    return 0


def figures_of(finished: Round) -> dict[str, Any]:
    samples = finished.scores["samples"]
    return {
        "training_seconds": round(finished.training_seconds, 2),
        "samples_seconds": round(samples["seconds"], 2),
        "evaluation_seconds": round(finished.scores["seconds"], 2),
        "samples_share_of_training": round(samples["seconds"] / finished.training_seconds, 3),
        "tokens": samples["tokens"],
        "tokens_per_second": round(samples["tokens_per_second"], 1),
        "stopped_by": samples["stopped_by"],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
