"""One task in a process of its own: `python -m benchmarks.train.child TASK CONFIGURATION FOLDER [part]`.

Each task writes TASK.json to FOLDER; the first one also writes the rows and the base model for the others.
"""

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.train.base import save_base
from benchmarks.train.configurations import Configuration
from benchmarks.train.gpu import ceiling, growth
from benchmarks.train.lane import Lane
from benchmarks.train.machine import machine
from benchmarks.train.memory import foretold, peak_bytes
from benchmarks.train.ours import batches_of_trl, ours
from benchmarks.train.profile import profiled
from benchmarks.train.race import Unequal, race
from benchmarks.train.rows import Chats, chats
from benchmarks.train.switches import SWITCHES, Switch
from benchmarks.train.theirs import trl


def prepare(folder: Path, configuration: Configuration) -> Chats:
    """Returns the rows of `folder`, creating them and the base model on first use."""
    if (folder / "rows.json").exists():
        return Chats.load(folder / "rows.json")
    rows, tokenizer = chats(configuration.effort.rows, configuration.shape.vocabulary)
    save_base(folder / "base", configuration.shape, tokenizer)
    rows.save(folder / "rows.json")
    return rows


def race_of(folder: Path, configuration: Configuration) -> dict[str, Any]:
    rows = prepare(folder, configuration)
    base, effort = folder / "base", configuration.effort
    given = batches_of_trl(len(rows.rows), effort.rows_per_step)
    lanes: dict[str, Lane] = {
        "trl": trl(folder / "trl", base, rows, configuration, name="trl"),
        "ours_same": ours(folder / "ours_same", base, rows, configuration, name="ours_same", given=given),
        "trl_precomputed": trl(
            folder / "trl_precomputed", base, rows, configuration, name="trl_precomputed", precompute=True
        ),
        "trl_best": trl(
            folder / "trl_best", base, rows, configuration, name="trl_best", precompute=True, by_length=True
        ),
        "ours": ours(folder / "ours", base, rows, configuration, name="ours"),
    }
    chosen = [lanes[name] for name in effort.lanes]
    try:
        timed, difference = race(chosen, effort, equal=("ours_same", "trl"), tolerance=configuration.tolerance)
    except Unequal as unequal:
        return {"failed": str(unequal)}
    return {
        "timed": {name: asdict(lane) for name, lane in timed.items()},
        "difference": difference,
        "prompt_tokens": sum(row.prompt_tokens for row in rows.rows),
        "completion_tokens": sum(row.completion_tokens for row in rows.rows),
        "rows": rows.source,
        "machine": machine(),
    }


def ablation_of(folder: Path, configuration: Configuration, switches: Sequence[Switch] = SWITCHES) -> dict[str, Any]:
    """Returns the seconds of an epoch and of the reference pass, with all switches on and with each one off."""
    rows = prepare(folder, configuration)
    lanes = [ours(folder / "ablation", folder / "base", rows, configuration, name="all")]
    for switch in switches:
        workdir = folder / f"ablation-{switch.name}"
        settings: dict[str, Any] = {"name": switch.name, "swaps": switch.swaps, "recipe": dict(switch.recipe)}
        lanes.append(ours(workdir, folder / "base", rows, configuration, **settings))
    timed, _ = race(lanes, configuration.effort)
    descriptions = {switch.name: switch.what for switch in switches}
    return {
        name: {
            "what": descriptions.get(name, ""),
            "seconds_per_epoch": sum(lane.seconds) * configuration.effort.blocks / len(lane.seconds),
            "reference_seconds": lane.reference_seconds,
        }
        for name, lane in timed.items()
    }


def main(task: str, name: str, at: str, *options: str) -> None:
    logging.getLogger("trl").setLevel(logging.ERROR)
    folder, configuration = Path(at), Configuration.of(name, part="part" in options)
    kind, _, side = task.partition("-")
    result: Any
    if kind == "race":
        result = race_of(folder, configuration)
    elif task == "memory-foretold":
        result = foretold(folder / task, folder / "base", prepare(folder, configuration), configuration)
    elif kind == "memory":
        result = peak_bytes(side, folder, prepare(folder, configuration), configuration)
    elif kind == "ablation":
        result = ablation_of(folder, configuration)
    elif kind == "profile":
        rows = prepare(folder, configuration)
        result = profiled(ours(folder / task, folder / "base", rows, configuration, name="ours"))
    elif kind == "ceiling":
        result = ceiling()
    else:
        assert kind == "growth", f"unknown task {task}"
        prepare(folder, configuration)
        result = growth(folder, configuration, *map(int, options))
    (folder / f"{task}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
