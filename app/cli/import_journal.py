"""Remembers how far an import came, so that the same command continues there after an interruption."""

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

from app.durable import write_atomically

_EVERY_SECONDS = 1.0


class ImportJournal:
    """The progress of one command: for each file, the number of events, completions and faults that are dealt with.

    path     the file of the journal; None for an import that cannot be continued
    restart  whether to forget an earlier interruption
    """

    def __init__(self, path: Path | None, *, restart: bool = False) -> None:
        self._path = path
        self._written = 0.0
        self._done: dict[str, int] = {} if path is None or restart else _read(path)

    def after(self, key: str | None) -> int:
        """Returns the number of items of a file that an interrupted import sent; 0 if there was none."""
        return 0 if key is None else self._done.get(key, 0)

    def note(self, key: str | None, number: int) -> None:
        """Notes that the first `number` items are dealt with. It is written once a second at most."""
        if key is not None and number > self._done.get(key, 0):
            self._done[key] = number
            if time.monotonic() - self._written >= _EVERY_SECONDS:
                self.write()

    def write(self) -> None:
        """Writes the journal. A folder that cannot be written leaves the import without one."""
        if self._path is None or not self._done:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, json.dumps(self._done).encode())
        except OSError:
            self._path = None
        self._written = time.monotonic()

    def finish(self) -> None:
        """Forgets the progress of an import that came to its end."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def journal_path(folder: Path, facts: Sequence[str]) -> Path:
    """Returns the file for an import with these facts: server, project, arguments and options."""
    return folder / f"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]}.json"


def _read(path: Path) -> dict[str, int]:
    try:
        done = json.loads(path.read_bytes())
        return {str(key): int(number) for key, number in done.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
