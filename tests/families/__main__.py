"""`make families`: reads a toy of every causal language model family of the installed transformers as the trainer
would, and compares it with single rows. The last line is JSON.

Each family is read in a process of its own, so that a crash is a line of the table. A run over all families
stores its figures in benchmarks/results/families.json and writes the table in docs/parity.md from them.
"""

import argparse
import json
import multiprocessing
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

import torch

from benchmarks.machine import described
from tests.families import table, toys
from tests.families.reading import SETTINGS, NotBuilt, Result, results_of

#: Forked, so that torch and transformers are already imported.
PROCESSES = multiprocessing.get_context("fork")
#: Time limit in seconds from one result of a family to the next.
PATIENCE = 600


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="A,B", help="families, as config.json names them; nothing is stored then")
    chosen = parser.parse_args()
    known = toys.families()
    families = chosen.only.split(",") if chosen.only else known
    if unknown := sorted(set(families) - set(known)):
        parser.error(f"--only: transformers has no causal language model {unknown[0]}; it has {', '.join(known)}")
    torch.set_num_threads(1)
    began, lines = time.monotonic(), {}
    for number, family in enumerate(families, 1):
        lines[family] = line = line_of(family)
        left = (time.monotonic() - began) / number * (len(families) - number)
        print(f"[{number:3}/{len(families)}] {family:28} {table.summary(line)}, {left:.0f} s left", flush=True)
    figures = table.figures(lines)
    if not chosen.only:
        machine = described("torch", "transformers", "peft")
        stored = {"figures": figures, "machine": machine, "families": lines}
        table.RESULTS.write_text(json.dumps(stored, indent=1) + "\n")
        table.write(stored)
    print(json.dumps(figures))
    return int(bool(figures["wrong"] or figures["crashed"]))


def line_of(family: str) -> dict[str, Any]:
    """Returns a result of `family` for each precision and method, or the reason why no toy of it was built."""
    here, there = multiprocessing.Pipe(duplex=False)
    process = PROCESSES.Process(target=_read, args=(family, there))
    process.start()
    there.close()
    results: list[dict[str, Any]] = []
    fault = f"no result in {PATIENCE} s"
    try:
        while here.poll(PATIENCE):
            received = here.recv()
            if isinstance(received, str):
                return {"not_built": received}
            results.append(vars(received))
        process.kill()
    except EOFError:
        process.join()
        fault = f"the process ended with exit code {process.exitcode}"
    for precision, method in SETTINGS[len(results) :]:
        results.append(vars(Result(precision, method, "crashed", fault)))
    return {"results": results}


def _read(family: str, results: Connection) -> None:
    try:
        for result in results_of(family):
            results.send(result)
    except NotBuilt as reason:
        results.send(str(reason))


if __name__ == "__main__":
    sys.exit(main())
