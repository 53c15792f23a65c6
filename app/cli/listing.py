"""The output of commands: a table at a terminal, JSON otherwise."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console

Model = TypeVar("Model", bound="BaseModel")


def as_table(as_json: bool) -> bool:
    """Returns whether to print a table: stdout is a terminal, and --json was not given."""
    return sys.stdout.isatty() and not as_json


def console() -> "Console":
    from rich.console import Console

    return Console(highlight=False)


def print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def show_all(items: Iterable[Model], columns: Mapping[str, Callable[[Model], str]], *, as_json: bool) -> None:
    """Prints a table with a row per item, or a JSON array of the complete items."""
    if not as_table(as_json):
        print_json([item.model_dump(mode="json") for item in items])
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for item in items:
        table.add_row(*(Text(cell(item)) for cell in columns.values()))
    console().print(table if table.row_count else "none yet")


def show_one(item: Model, lines: Mapping[str, str], *, as_json: bool) -> None:
    """Prints a line per name, or the complete item as JSON."""
    if not as_table(as_json):
        print_json(item.model_dump(mode="json"))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in lines.items():
        table.add_row(Text(name, style="bold"), Text(value))
    console().print(table)


def when(time: datetime | None) -> str:
    """Returns the time in UTC, to the second; – if there is none."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if time else "–"


def figure(value: Any, digits: int = 3) -> str:
    """Returns a number, or a figure of the scorer with its interval, as text; – if there is none."""
    if isinstance(value, Mapping):
        middle, low, high = (value.get(name) for name in ("value", "low", "high"))
        if middle is None:
            return "–"
        return figure(middle, digits) + (
            f" ({figure(low, digits)} … {figure(high, digits)})" if low is not None else ""
        )
    return "–" if value is None else f"{value:.{digits}f}"


def seconds(value: float | None) -> str:
    if value is None:
        return "–"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
