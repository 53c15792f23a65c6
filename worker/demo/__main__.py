"""Runs the demo's story on a running Thumbwheel: `python -m worker.demo`.

The service is the one at THUMBWHEEL_URL, with the admin key in THUMBWHEEL_API_KEY; `thumbwheel demo` starts one and
runs this. The result is printed on stdout, everything else on stderr. Exit codes: 0 finished, 2 failed (one line on
stderr), 130 interrupted.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

# The models load quickly, and their progress bars would interrupt the story's.
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def main() -> int:
    options = _options()
    started = time.monotonic() - options.spent

    from rich.console import Console
    from thumbwheel import Client, ClientError
    from transformers.utils import logging

    from worker.demo.narrator import Narrator
    from worker.demo.report import document, example, table
    from worker.demo.story import PROJECT, Story, Trouble

    logging.disable_progress_bar()
    narrator = Narrator(Console(stderr=True))
    try:
        with tempfile.TemporaryDirectory(prefix="support-desk-") as folder, Client(project=PROJECT) as client:
            outcome = Story(client, narrator, options.cache, Path(folder), options.seed, options.full).run()
    except (Trouble, ClientError, OSError) as error:
        sys.stderr.write(f"The demo stopped: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    seconds = time.monotonic() - started
    result = Console(stderr=options.json)
    result.print()
    result.print(example(outcome.tickets, outcome.chapters, outcome.refused))
    result.print(table(outcome.chapters, len(outcome.tickets)))
    result.print(f"Seed {options.seed}, {seconds:.0f} s.")
    if options.json:
        sys.stdout.write(json.dumps(document(outcome.chapters, outcome.refused, options.seed, seconds)) + "\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m worker.demo", description="Run the demo's story.")
    parser.add_argument("--cache", type=Path, required=True, help="folder that stores base models for the next call")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--full", action="store_true", help="also train a careless recipe, which the gates refuse")
    parser.add_argument("--json", action="store_true", help="print one line of JSON on stdout at the end")
    parser.add_argument("--spent", type=float, default=0.0, help="seconds that the start of the services took")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
