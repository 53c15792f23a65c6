"""`thumbwheel train`: runs only the trainer, in a process of its own, without database, queue or other services."""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from app import services
from app.cli.projects import Changes, changes_of
from app.errors import Invalid, Unavailable

#: Packages that are installed only with the extra `worker`.
NEEDED = ("torch", "transformers", "peft", "pyarrow", "matplotlib")


def train(
    data: Annotated[
        list[Path],
        typer.Option(metavar="FILE", help="Rows in TRL's formats: .jsonl, .json, .csv, .parquet; may be repeated."),
    ],
    model: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the base model.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the checkpoint and its figures.")],
    eval_data: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Held-out rows; then training uses all of --data.")
    ] = None,
    holdout: Annotated[
        float,
        typer.Option(min=0, max=0.9, metavar="SHARE", help="Without --eval-data: share of the prompts to hold out."),
    ] = 0.1,
    reference: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of a shipped adapter, to continue from and measure against."),
    ] = None,
    reuse: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="--out of an earlier training with log-probs to reuse; may be repeated."),
    ] = None,
    recipe: Annotated[str, typer.Option(metavar="PRESET", help="Recipe to start from.")] = "lora-small",
    recipe_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON with fields that replace the recipe's.")
    ] = None,
    changes: Changes = None,
    objective: Annotated[
        str | None, typer.Option(metavar="NAME", help="Short for --set objective=…, as the next four are.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Passes over the data.")] = None,
    beta: Annotated[float | None, typer.Option(metavar="BETA", help="Strength of the pull to the reference.")] = None,
    learning_rate: Annotated[float | None, typer.Option(metavar="RATE", help="Highest learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Seed of all random choices.")] = None,
    allow_imbalance: Annotated[
        bool, typer.Option("--allow-imbalance", help="Train even if one class outweighs the other over 10 times.")
    ] = False,
    no_evaluate: Annotated[bool, typer.Option("--no-evaluate", help="Do not score the held-out rows.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Discard the results of an earlier call in --out.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (the default when output is piped).")] = False,
) -> None:
    """Train a model on files of feedback, without any service. The same command continues an interrupted training.

    Exit codes: 0 done, 2 refused, 75 stopped by Ctrl-C with the state saved.
    """
    for name in NEEDED:
        if find_spec(name) is None:
            raise Unavailable(
                f"Training needs {name}, which is not installed: pip install 'thumbwheel-server[worker]'.",
                code="worker_missing",
            )
    shortcuts = {
        "objective": objective, "epochs": epochs, "beta": beta, "learning_rate": learning_rate, "seed": seed,
    }  # fmt: skip
    set_by_option = {name: value for name, value in shortcuts.items() if value is not None}
    request = {
        "data": list(map(str, data)),
        "eval_data": list(map(str, eval_data or [])),
        "holdout": holdout,
        "model": str(model),
        "reference": str(reference) if reference else None,
        "reuse": list(map(str, reuse or [])),
        "out": str(out),
        "preset": recipe,
        "changes": _all_changes(recipe_file, changes, set_by_option),
        "allow_imbalance": allow_imbalance,
        "evaluate": not no_evaluate,
        "restart": restart,
        "as_json": as_json,
    }
    raise typer.Exit(_run([sys.executable, "-m", "worker.training.standalone", json.dumps(request)]))


def _all_changes(file: Path | None, options: list[str] | None, shortcuts: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the file's fields, overridden by --set and the options for single fields. Raises `Invalid`."""
    changes = changes_of(options)
    for name in shortcuts.keys() & changes.keys():
        option = name.replace("_", "-")
        raise Invalid(f"--set {name}=… and --{option} set the same field: leave one out.", code="invalid_option")
    return _merged(_fields_of(file) if file else {}, {**changes, **shortcuts})


def _merged(fields: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields with the changes applied, also within nested objects."""
    merged = dict(fields)
    for name, value in changes.items():
        inner = merged.get(name)
        merged[name] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def _fields_of(file: Path) -> dict[str, Any]:
    try:
        fields = json.loads(file.read_bytes())
    except OSError as error:
        raise Invalid(f"--recipe-file {file} cannot be read: {error.strerror}.", code="invalid_option") from None
    except ValueError as error:
        raise Invalid(f"--recipe-file {file} is not JSON: {error}.", code="invalid_option") from None
    if not isinstance(fields, dict):
        raise Invalid(f"--recipe-file {file} is not a JSON object of fields.", code="invalid_option")
    return fields


def _run(command: list[str]) -> int:
    """Runs `command` with our terminal and our signals and returns its exit code."""
    # A terminal sends Ctrl-C to both processes; the trainer handles it.
    before = {signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    trainer = subprocess.Popen(services.tethered(command))

    def pass_on(number: int, _frame: FrameType | None) -> None:
        trainer.send_signal(number)

    before[signal.SIGTERM] = signal.signal(signal.SIGTERM, pass_on)
    code = trainer.wait()
    for number, handler in before.items():
        signal.signal(number, handler)
    if code >= 0:
        return code
    cause = ", often because memory ran out: lower micro_batch_size or max_length" if code == -signal.SIGKILL else ""
    name = signal.Signals(-code).name
    sys.stderr.write(f"the trainer was ended by {name}{cause}; run the same command to continue from its last state\n")
    return 128 - code
