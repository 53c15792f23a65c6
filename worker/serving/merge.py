"""Merges an adapter into its base model: `python -m worker.serving.merge BASE ADAPTER FOLDER`.

The result is a whole model in the precision in which the base model is stored. Errors are one line, and exit code 1.
"""

import sys
from pathlib import Path

from worker.training.machine.process import TrainingRefusal, first_line


def merge(base: Path, adapter: Path, folder: Path) -> None:
    """Writes the merged model into `folder`. Raises `TrainingRefusal` if the adapter does not fit."""
    from worker.training.models import merged

    merged.save_merged(base, adapter, folder)


if __name__ == "__main__":
    try:
        merge(*map(Path, sys.argv[1:4]))
    except TrainingRefusal as refusal:
        sys.exit(str(refusal))
    except Exception as error:  # noqa: BLE001 - the reason goes to the operator, whatever it is
        sys.exit(f"{type(error).__name__}: {first_line(error)}")
