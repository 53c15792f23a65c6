"""Prints the figures of all conditions as a table, a row for each round. Pure."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

COLUMNS = (
    ("good, %", "good_share", 100, 1, ""),
    ("to the round before", "better_than_before", 100, 1, "+"),
    ("to the best", "better_than_best", 100, 1, "+"),
    ("refunds, %", "invented_refund_share", 100, 1, ""),
    ("garbled, %", "unclear_share", 100, 1, ""),
    ("KL from base", "kl_base", 1, 2, ""),
    ("KL from the round before", "kl_previous", 1, 2, ""),
    ("length ×", "length_ratio", 1, 2, ""),
)


def table(conditions: Mapping[str, Any]) -> Table:
    rows = Table(title="Rounds of the support desk: mean ± half of the 95 % interval over seeds")
    for column in ("", "round", "seeds"):
        rows.add_column(column, no_wrap=True)
    for title, *_ in COLUMNS:
        rows.add_column(title, justify="right")
    for name, condition in conditions.items():
        for number, figures in enumerate(condition["rounds"]):
            failed = len(figures["failures"])
            rows.add_row(
                name if number == 0 else "",
                ("base" if number == 0 else str(number)) + (f" ({failed} failed)" if failed else ""),
                str(len(figures["seeds"])),
                *(_cell(figures.get(figure), times, digits, sign) for _, figure, times, digits, sign in COLUMNS),
            )
        rows.add_section()
    return rows


def _cell(figure: Mapping[str, float | None] | None, times: int, digits: int, sign: str) -> str:
    if figure is None or figure["mean"] is None:
        return ""
    mean = f"{times * figure['mean']:{sign}.{digits}f}"
    return mean if figure["high"] is None else f"{mean} ± {times * (figure['high'] - figure['mean']):.{digits}f}"
