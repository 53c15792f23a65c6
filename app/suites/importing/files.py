"""Reads the file to be converted, and the files that it names."""

from pathlib import Path
from typing import Any

from app.bounded_yaml import load, read_text
from app.errors import Invalid
from app.suites.importing import openai_evals, promptfoo
from app.suites.importing.conversion import Conversion

LINES = (".jsonl", ".ndjson")
PROGRAMS = (".js", ".cjs", ".mjs", ".ts", ".py", ".rb", ".go", ".sh")
#: Files that one configuration may read.
MOST_FILES = 1_000


def imported(file: Path, name: str | None, *, contains: bool) -> Conversion:
    """Returns the suite of a file: JSON lines are those of OpenAI evals, anything else is promptfoo's configuration.

    Raises `Invalid` if the file cannot be read, or if no test could be converted.
    """
    title = name or file.stem
    try:
        text = read_text(file)
        if file.suffix in LINES:
            return openai_evals.convert(text, title, contains=contains)
        config = load(text, json_only=file.suffix == ".json")
    except ValueError as error:
        raise Invalid(f"{file} {error}.", code="unreadable_file") from error
    return promptfoo.convert(config, title, _Folder(file.parent).content)


class _Folder:
    """The files that a configuration names, relative to its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read = 0

    def content(self, reference: str) -> Any:
        """Returns the value of a file of JSON or YAML, or the text of any other. Raises `ValueError`."""
        path = self._folder / reference.removeprefix("file://")
        self._read += 1
        if self._read > MOST_FILES:
            raise ValueError(f"is not read: the configuration names more than {MOST_FILES:,} files")
        if "*" in reference:
            raise ValueError("names several files by a pattern: name each")
        if "://" in reference.removeprefix("file://"):
            raise ValueError("is not a file: only files are read")
        if Path(path.name.partition(":")[0]).suffix in PROGRAMS:
            raise ValueError("is a program, and no program is run")
        if path.suffix == ".csv":
            raise ValueError("is a table, which is not converted: write its rows as YAML or JSON lines")
        text = read_text(path)
        if path.suffix in LINES:
            return [load(line, json_only=True) for line in text.splitlines() if line.strip()]
        return load(text, json_only=path.suffix == ".json") if path.suffix in (".json", ".yaml", ".yml") else text
