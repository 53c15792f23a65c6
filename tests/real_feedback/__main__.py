"""`make real-feedback`: imports whole files of real feedback and checks their labels, pairs and splits.

Each file is imported twice, in its order and in reverse. With a model, a short training measures the dumb
readers. Progress goes to stderr; stdout gets a table and, in the last line, all figures as one JSON object, which is
also stored in benchmarks/results.
"""

import argparse
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from app import services
from app.cli.stack import migrate
from benchmarks.machine import described

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "real-feedback.json"
#: Largest numbers of rows for fitting and testing the dumb readers.
TRAIN_ROWS, HOLDOUT_ROWS = 4_000, 400
#: Figures that must be zero for every file.
FAULTS = (
    "lines_lost", "votes_in_quarantine", "labels_that_change_in_reverse", "pairs_nobody_compared",
    "pairs_against_votes", "held_out_rows_of_trained_conversations",
)  # fmt: skip
SHOWN = (
    "events",
    *FAULTS,
    "pairs",
    "held_out_rows",
    "contained",
    "equal_answers",
    "bag_of_words",
    "length",
    "reference",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.real_feedback", description="Figures of real feedback.")
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder with events/ and models/"
    )
    parser.add_argument("--only", action="append", help="name of a file, without its suffixes; may be repeated")
    parser.add_argument("--model", default="stories260K", help="folder in models/ for the dumb readers; empty for none")
    chosen = parser.parse_args()
    files = sorted((chosen.data / "events").glob("*.jsonl.gz"))
    files = [file for file in files if not chosen.only or _name(file) in chosen.only]
    if not files:
        print(f"{chosen.data / 'events'} has no such *.jsonl.gz: name the folder with --data", file=sys.stderr)
        return 2
    console = Console(stderr=True)
    with services.temporary() as folder, services.embedded_postgres(folder / "postgres", durable=False) as database:
        os.environ["THUMBWHEEL_DATABASE_URL"] = database.url
        os.environ["THUMBWHEEL_REDIS_URL"] = "redis://127.0.0.1:1/0"
        os.environ["THUMBWHEEL_DATA_DIR"] = str(folder / "data")
        os.environ["THUMBWHEEL_BASE_MODELS"] = "on_workers"
        migrate(dict(os.environ))
        by_file = {}
        for file in files:
            by_file[_name(file)] = measure(file, folder / _name(file), chosen.data / "models" / chosen.model, console)
    Console(width=None if sys.stdout.isatty() else 160).print(table(by_file))
    document = {"files": by_file, "machine": described("polars", "pyarrow", "numpy")}
    if not chosen.only:
        RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))
    return int(any(figures.get(fault) for figures in by_file.values() for fault in FAULTS))


def measure(file: Path, folder: Path, model: Path, console: Console) -> dict[str, Any]:
    """Returns the figures of one file."""
    from tests.real_feedback import figures  # reads the settings of the database that has just started

    name = _name(file)
    console.print(f"{name}: imported in both orders", highlight=False)
    events, lines = figures.imported(file)
    figures.in_log(name, events)
    figures.in_log(f"{name}-reversed", events[::-1])
    labels, reversed_labels = figures.labels_of(name), figures.labels_of(f"{name}-reversed")
    readiness = figures.readiness_of(name)
    with_lines = file_lines(file)
    found: dict[str, Any] = {
        "events": len(events),
        "lines": lines,
        "lines_lost": with_lines - sum(lines.values()),
        "votes_in_quarantine": readiness.quarantine.votes if readiness.quarantine else None,
        "labels": sum(label is not None for label, _, _ in labels.values()),
        "labels_that_change_in_reverse": sum(reversed_labels[which] != label for which, label in labels.items()),
        "ready": readiness.ready,
        "reasons": readiness.reasons,
        "notices": readiness.notices,
    }
    console.print(f"{name}: split", highlight=False)
    manifest = figures.snapshot_of(name, folder)
    if isinstance(manifest, str):
        return found | {"refused": manifest}
    shards = figures.shards_in(folder)
    train, holdout = figures.of_split(shards, "train"), figures.of_split(shards, "holdout")
    found |= figures.pairs_checked(figures.pairs_in(folder, shards), events)
    found |= figures.conversations_on_both_sides(events, train, holdout)
    found |= {"contained": manifest["leakage"]["contained"], "equal_answers": manifest["equal_answers"]}
    if model.is_dir():
        console.print(f"{name}: readers that know nothing", highlight=False)
        found |= dumb_readers(model, train, holdout, folder)
    return found


def dumb_readers(
    model: Path, train: list[dict[str, Any]], holdout: list[dict[str, Any]], folder: Path
) -> dict[str, Any]:
    """Returns the AUROC of the dumb readers, as in the scores of a run, on rows drawn at random."""
    draw = random.Random(1)
    for name, every, most in (("train", train, TRAIN_ROWS), ("holdout", holdout, HOLDOUT_ROWS)):
        rows = draw.sample(every, min(most, len(every)))
        lines = (json.dumps({field: row[field] for field in ("prompt", "completion", "label")}) for row in rows)
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    command = [
        sys.executable, "-m", "app.cli.main", "train", "--data", folder / "train.jsonl",
        "--eval-data", folder / "holdout.jsonl", "--model", model, "--out", folder / "out",
        "--allow-imbalance", "--set", "max_steps=1",
    ]  # fmt: skip
    ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, cwd=ROOT)
    if ran.returncode != 0:
        return {"dumb_readers": ran.stderr.strip().splitlines()[-1:]}
    scores = json.loads(next((folder / "out").rglob("scores.json")).read_text())
    readers = scores["dumb_readers"]
    return {reader: _rounded(readers[reader]) for reader in ("bag_of_words", "length", "reference")}


def file_lines(file: Path) -> int:
    import gzip

    with gzip.open(file, "rt") as lines:
        return sum(1 for line in lines if line.strip())


def table(by_file: dict[str, dict[str, Any]]) -> Table:
    shown = Table("", *by_file, title="Real feedback", title_justify="left")
    for name in SHOWN:
        shown.add_row(name.replace("_", " "), *(_shown(figures.get(name)) for figures in by_file.values()))
    return shown


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        if "value" in value:
            return "–" if value["value"] is None else f"{value['value']} ({value['low']} to {value['high']})"
        return " of ".join(str(count) for count in reversed(value.values()))
    return "–" if value is None else str(value)


def _rounded(figure: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in figure.items()}


def _name(file: Path) -> str:
    return file.name.removesuffix(".jsonl.gz").replace("_", "-")


if __name__ == "__main__":
    sys.exit(main())
