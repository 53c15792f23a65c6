"""`thumbwheel train`: the trainer alone, without database, queue or any other service, in a process of its own."""

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

#: Of the worker's packages, those that say whether the rest is there.
NEEDED = ("torch", "transformers", "peft", "pyarrow", "matplotlib")


def train(
    data: Annotated[
        list[Path],
        typer.Option(metavar="FILE", help="Rows as TRL reads them: .jsonl, .json, .csv, .parquet; repeat it."),
    ],
    model: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the base model.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the checkpoint and its figures.")],
    eval_data: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Held-out rows; all of --data is trained on then.")
    ] = None,
    holdout: Annotated[
        float,
        typer.Option(min=0, max=0.9, metavar="SHARE", help="Else this share of the prompts is held out; 0 for none."),
    ] = 0.1,
    reference: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of a shipped adapter, to continue from and measure against."),
    ] = None,
    reuse: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="--out of an earlier training, to spare what its reference said; repeat it."),
    ] = None,
    recipe: Annotated[str, typer.Option(metavar="PRESET", help="Recipe to begin with.")] = "lora-small",
    recipe_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON with fields of the recipe, laid over it.")
    ] = None,
    changes: Changes = None,
    objective: Annotated[
        str | None, typer.Option(metavar="NAME", help="Short for --set objective=…; the next four alike.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Passes over the data.")] = None,
    beta: Annotated[float | None, typer.Option(metavar="BETA", help="Strength of the pull to the reference.")] = None,
    learning_rate: Annotated[float | None, typer.Option(metavar="RATE", help="Highest learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Seed of every choice.")] = None,
    allow_imbalance: Annotated[
        bool, typer.Option("--allow-imbalance", help="Also where one class outweighs the other over 10 times.")
    ] = False,
    no_evaluate: Annotated[bool, typer.Option("--no-evaluate", help="Do not score the held-out rows.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Drop what an earlier call left in --out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table; a pipe gets it anyway.")] = False,
) -> None:
    """Train a model on files of feedback, without any service. The same command again continues what was interrupted.

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
    asked_by_name = {name: value for name, value in shortcuts.items() if value is not None}
    request = {
        "data": list(map(str, data)),
        "eval_data": list(map(str, eval_data or [])),
        "holdout": holdout,
        "model": str(model),
        "reference": str(reference) if reference else None,
        "reuse": list(map(str, reuse or [])),
        "out": str(out),
        "preset": recipe,
        "changes": _all_changes(recipe_file, changes, asked_by_name),
        "allow_imbalance": allow_imbalance,
        "evaluate": not no_evaluate,
        "restart": restart,
        "as_json": as_json,
    }
    raise typer.Exit(_run([sys.executable, "-m", "worker.training.standalone", json.dumps(request)]))


def _all_changes(file: Path | None, given: list[str] | None, shortcuts: Mapping[str, Any]) -> dict[str, Any]:
    """The file's fields, over them those of --set and of the options of their own. Raises `Invalid`."""
    said = changes_of(given)
    for name in shortcuts.keys() & said.keys():
        option = name.replace("_", "-")
        raise Invalid(f"--set {name}=… and --{option} say the same: leave one out.", code="invalid_option")
    return _laid_over(_fields_of(file) if file else {}, {**said, **shortcuts})


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        inner = merged.get(name)
        merged[name] = _laid_over(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def _fields_of(file: Path) -> dict[str, Any]:
    try:
        fields = json.loads(file.read_bytes())
    except OSError as error:
        raise Invalid(f"--recipe-file {file} cannot be read: {error.strerror}.", code="invalid_option") from None
    except ValueError as error:
        raise Invalid(f"--recipe-file {file} is not JSON: {error}.", code="invalid_option") from None
    if not isinstance(fields, dict):
        raise Invalid(f"--recipe-file {file} holds no object of fields by name.", code="invalid_option")
    return fields


def _run(command: list[str]) -> int:
    """The exit code of `command`, which has our terminal and gets our signals."""
    # A terminal sends Ctrl-C to both of us; the trainer heeds it.
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
    why = ", often for want of memory: lower micro_batch_size or max_length" if code == -signal.SIGKILL else ""
    name = signal.Signals(-code).name
    sys.stderr.write(f"the trainer was ended by {name}{why}; the same command goes on from its last state\n")
    return 128 - code
