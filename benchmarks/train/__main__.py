"""`make bench-train` and `make bench-train-gpu`.

Each configuration is raced in a process of its own, and the memory of each side is measured in separate processes.
Progress goes to stderr; tables and, in the last line, all figures as one JSON object go to stdout. A whole run also
writes them to benchmarks/results; a part of one (--only, --quick, --toy) measures fewer steps and writes nothing. Exit
codes: 0 done, 1 a configuration failed (for example, its losses were unequal), 2 invalid arguments.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.train.configurations import CPU, GPU, Configuration
from benchmarks.train.figures import Timed, figures, rounded, useful_flops
from benchmarks.train.tables import ablation_table, lanes_table, ratios_table
from worker.training.machine.process import prepare_environment

RESULTS = Path(__file__).resolve().parents[1] / "results"
#: Sides whose memory is measured in processes of their own.
ALONE = ("ours_same", "trl", "trl_lean")
#: The configurations of the ablation in a whole run.
ABLATED = ("m15_float32_full", "m15_bf16_lora")
#: The configuration and the completion lengths for the growth of a token's cost.
GROWTH, LENGTHS = "g15_bf16_lora", ("256", "4096")
TOY, TOY_LENGTHS = "toy_float32_full", ("16", "64")


def main(arguments: Sequence[str]) -> int:
    parsed = _parser().parse_args(arguments)
    default = (TOY,) if parsed.toy else GPU if parsed.gpu else CPU
    names = parsed.only.split(",") if parsed.only else default
    whole = not (parsed.only or parsed.quick or parsed.toy)
    ablated = parsed.ablate.split(",") if parsed.ablate else ABLATED if whole and not parsed.gpu else ()
    try:
        for name in (*names, *ablated):
            Configuration.of(name)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    prepare_environment()
    options = ["part"] if (parsed.only or parsed.quick) and not parsed.thorough else []
    if parsed.profile:
        for name in names:
            with _folder() as folder:
                print(f"{name}\n{_task('profile', name, folder, options)}")
        return 0

    ceiling: dict[str, Any] | None = None
    if parsed.gpu:
        import torch

        if not (torch.cuda.is_available() or parsed.toy):
            print(
                "This machine has no CUDA GPU: nothing was measured. --toy runs the same code on CPU.", file=sys.stderr
            )
            print(json.dumps({"gpu": None}))
            return 0
        with _folder() as folder:
            ceiling = _task("ceiling", TOY, folder)
    by_name: dict[str, dict[str, Any]] = {}
    ablations: dict[str, Any] = {}
    machine: dict[str, Any] = {}
    for name in dict.fromkeys((*names, *ablated)):
        with _folder() as folder:
            if name in names:
                by_name[name] = _measured(name, folder, options, ceiling, whole=whole)
                machine = by_name[name].pop("machine", machine)
                print(ratios_table({name: by_name[name]}), file=sys.stderr)
            if name in ablated:
                ablations[name] = _task("ablation", name, folder, options)
    tables = [lanes_table(by_name), ratios_table(by_name)]
    tables += [ablation_table(name, ablation) for name, ablation in ablations.items()]
    print("\n\n".join(tables), end="\n\n")
    document = rounded({**by_name, "ablation": ablations, "machine": machine})
    if ceiling:
        document |= {"gpu": ceiling["gpu"], "matmul_flops_per_second": ceiling["flops_per_second"]}
    if whole:
        kind = re.sub(r"[^a-z0-9]+", "-", machine.get("gpu", "cpu").lower())
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"train-{kind}.json").write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n")
    print(json.dumps(document, ensure_ascii=False))
    return 1 if any("failed" in measured for measured in by_name.values()) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train", description="Compares the trainer with TRL's.")
    parser.add_argument("--gpu", action="store_true", help="the large models, on one CUDA GPU")
    parser.add_argument("--only", metavar="NAMES", help="configurations, separated by commas")
    parser.add_argument("--quick", action="store_true", help="two optimizer steps per epoch, three epochs at most")
    parser.add_argument("--thorough", action="store_true", help="with --only: as many steps as in a whole run")
    parser.add_argument(
        "--toy", action="store_true", help="a model of 7,000 parameters: shows that the benchmark works"
    )
    parser.add_argument("--ablate", metavar="NAMES", help="turn off each switch of these configurations in turn")
    parser.add_argument("--profile", action="store_true", help="only list the most expensive operations of our step")
    return parser


def _measured(
    name: str, folder: Path, options: Sequence[str], ceiling: Mapping[str, Any] | None, *, whole: bool
) -> dict[str, Any]:
    """Returns figures and machine of one configuration. Only a whole run has the memory of TRL at its leanest."""
    configuration = Configuration.of(name, part="part" in options)
    try:
        raced = _task("race", name, folder, options)
        if "failed" in raced:
            return dict(raced)
        timed = {name: Timed(**lane) for name, lane in raced["timed"].items()}
        if "gpu" in raced["machine"]:
            peaks = {name: lane.peak_bytes - configuration.weight_bytes for name, lane in timed.items()}
        else:
            sides = ALONE if whole else ALONE[:2]
            peaks = {side: _task(f"memory-{side}", name, folder, options) for side in sides}
        result = figures(configuration, timed, raced["difference"], peaks)
        result["memory_foretold"] = _task("memory-foretold", name, folder, options)
        if ceiling:
            flops = useful_flops(configuration, raced["prompt_tokens"], raced["completion_tokens"])
            for lane in result["lanes"].values():
                lane["flop_utilisation"] = flops / lane["seconds_per_epoch"] / ceiling["flops_per_second"]
        if ceiling and name in (GROWTH, TOY):
            result["cost_growth"] = _task("growth", name, folder, TOY_LENGTHS if name == TOY else LENGTHS)
    except subprocess.CalledProcessError as error:
        return {"failed": f"a process ended with exit code {error.returncode}: see its last lines above"}
    return result | {"rows": raced["rows"], "machine": raced["machine"]}


def _task(task: str, name: str, folder: Path, options: Sequence[str] = ()) -> Any:
    """Runs a task in a process of its own and returns its result."""
    started = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.train.child", task, name, str(folder), *options]
    subprocess.run(command, check=True, stdout=sys.stderr)
    print(f"{name}: {task}, {time.monotonic() - started:.0f} s", file=sys.stderr)
    return json.loads((folder / f"{task}.json").read_text())


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bench-train-") as folder:
        yield Path(folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
