"""`make bench-train` and `make bench-train-gpu`.

Each configuration is raced in a process of its own, and the memory of each side is measured in further ones. Tells on
stderr how it goes; on stdout come tables and, in the last line, all figures as one JSON object. A whole run leaves them
in benchmarks/results too, a part of one (--only, --quick, --toy) does not, and measures fewer steps. Exit codes: 0
done, 1 a configuration failed (its losses were unequal, say), 2 the arguments make no benchmark.
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
#: Sides whose memory is measured alone, in processes of their own.
ALONE = ("ours_same", "trl", "trl_lean")
#: What a whole run turns the switches off in.
ABLATED = ("m15_float32_full", "m15_bf16_lora")
#: Where the growth of a token's cost is measured, and at which completion lengths.
GROWTH, LENGTHS = "g15_bf16_lora", ("256", "4096")
TOY, TOY_LENGTHS = "toy_float32_full", ("16", "64")


def main(arguments: Sequence[str]) -> int:
    asked = _parser().parse_args(arguments)
    default = (TOY,) if asked.toy else GPU if asked.gpu else CPU
    names = asked.only.split(",") if asked.only else default
    whole = not (asked.only or asked.quick or asked.toy)
    ablated = asked.ablate.split(",") if asked.ablate else ABLATED if whole and not asked.gpu else ()
    try:
        for name in (*names, *ablated):
            Configuration.of(name)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    prepare_environment()
    options = ["part"] if (asked.only or asked.quick) and not asked.thorough else []
    if asked.profile:
        for name in names:
            with _folder() as folder:
                print(f"{name}\n{_task('profile', name, folder, options)}")
        return 0

    ceiling: dict[str, Any] | None = None
    if asked.gpu:
        import torch

        if not (torch.cuda.is_available() or asked.toy):
            print("There is no CUDA GPU here: nothing was measured. --toy runs the same code on CPU.", file=sys.stderr)
            print(json.dumps({"gpu": None}))
            return 0
        with _folder() as folder:
            ceiling = _task("ceiling", TOY, folder)
    found: dict[str, dict[str, Any]] = {}
    ablations: dict[str, Any] = {}
    machine: dict[str, Any] = {}
    for name in dict.fromkeys((*names, *ablated)):
        with _folder() as folder:
            if name in names:
                found[name] = _measured(name, folder, options, ceiling, whole=whole)
                machine = found[name].pop("machine", machine)
                print(ratios_table({name: found[name]}), file=sys.stderr)
            if name in ablated:
                ablations[name] = _task("ablation", name, folder, options)
    tables = [lanes_table(found), ratios_table(found)]
    tables += [ablation_table(name, ablation) for name, ablation in ablations.items()]
    print("\n\n".join(tables), end="\n\n")
    document = rounded({**found, "ablation": ablations, "machine": machine})
    if ceiling:
        document |= {"gpu": ceiling["gpu"], "matmul_flops_per_second": ceiling["flops_per_second"]}
    if whole:
        kind = re.sub(r"[^a-z0-9]+", "-", machine.get("gpu", "cpu").lower())
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"train-{kind}.json").write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n")
    print(json.dumps(document, ensure_ascii=False))
    return 1 if any("failed" in told for told in found.values()) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train", description="The trainer beside TRL's.")
    parser.add_argument("--gpu", action="store_true", help="the large models, on one CUDA GPU")
    parser.add_argument("--only", metavar="NAMES", help="these configurations, joined by commas")
    parser.add_argument("--quick", action="store_true", help="two optimizer steps an epoch, three epochs at most")
    parser.add_argument("--thorough", action="store_true", help="with --only: as many steps as in a whole run")
    parser.add_argument(
        "--toy", action="store_true", help="a model of 7,000 parameters: shows that the benchmark works"
    )
    parser.add_argument("--ablate", metavar="NAMES", help="turn off each switch of these configurations in turn")
    parser.add_argument("--profile", action="store_true", help="nothing but the dearest operations of our step")
    return parser


def _measured(
    name: str, folder: Path, options: Sequence[str], ceiling: Mapping[str, Any] | None, *, whole: bool
) -> dict[str, Any]:
    """The figures of one configuration, with the machine; the memory of TRL at its leanest in a whole run alone."""
    configuration = Configuration.of(name, part="part" in options)
    try:
        raced = _task("race", name, folder, options)
        if "failed" in raced:
            return dict(raced)
        timed = {lane: Timed(**told) for lane, told in raced["timed"].items()}
        if "gpu" in raced["machine"]:
            peaks = {lane: told.peak_bytes - configuration.weight_bytes for lane, told in timed.items()}
        else:
            sides = ALONE if whole else ALONE[:2]
            peaks = {side: _task(f"memory-{side}", name, folder, options) for side in sides}
        told = figures(configuration, timed, raced["difference"], peaks)
        told["memory_foretold"] = _task("memory-foretold", name, folder, options)
        if ceiling:
            flops = useful_flops(configuration, raced["prompt_tokens"], raced["completion_tokens"])
            for lane in told["lanes"].values():
                lane["flop_utilisation"] = flops / lane["seconds_per_epoch"] / ceiling["flops_per_second"]
        if ceiling and name in (GROWTH, TOY):
            told["cost_growth"] = _task("growth", name, folder, TOY_LENGTHS if name == TOY else LENGTHS)
    except subprocess.CalledProcessError as error:
        return {"failed": f"a process ended with {error.returncode}, see its last lines above"}
    return told | {"rows": raced["rows"], "machine": raced["machine"]}


def _task(task: str, name: str, folder: Path, options: Sequence[str] = ()) -> Any:
    """What a process of its own finds."""
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
