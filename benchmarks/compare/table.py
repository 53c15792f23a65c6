"""Prints the figures of the arms as a table, one row per arm and budget. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

Arms = Mapping[str, Mapping[str, Any]]


def lines(arms: Arms) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yields (arm, budget, figures). An arm whose budgets are the same training has one line."""
    for arm, figures in arms.items():
        if figures["at_equal_steps"]["steps"] == figures["steps"]:
            yield arm, "votes and steps" if figures["steps"] else "", figures
        else:
            yield arm, "votes", figures
            yield arm, "steps", figures["at_equal_steps"]


def table(arms: Arms, seeds: int) -> Table:
    rows = Table(title=f"The support desk, {seeds} seed{'s' if seeds > 1 else ''}: value (95 % interval)")
    for column in ("arm", "equal"):
        rows.add_column(column, no_wrap=True)
    for column in ("good, %", "to KTO, points", "refunds, %", "unclear, %", "KL, nats", "length ×", "votes", "steps",
                   "1,000 tokens"):  # fmt: skip
        rows.add_column(column, justify="right", no_wrap=True)
    for arm, budget, figures in lines(arms):
        failed = len(figures["failures"])
        rows.add_row(
            arm + (f" ({failed} failed)" if failed else ""),
            budget,
            cell(figures, "good_share", 100, 1),
            "" if arm == "kto" else interval_cell(figures["difference_to_kto"], 100, 1, "+"),
            cell(figures, "invented_refund_share", 100, 1),
            cell(figures, "unclear_share", 100, 1),
            cell(figures, "kl_nats", 1, 2),
            cell(figures, "length_ratio", 1, 2),
            *("–" if figures[name] is None else f"{figures[name]:,}" for name in ("votes", "steps")),
            "–" if figures["tokens"] is None else f"{figures['tokens'] / 1000:,.0f}",
        )
    return rows


def cell(figures: Mapping[str, Any], name: str, times: float, digits: int) -> str:
    return interval_cell({"value": figures[name], **figures["intervals"][name]}, times, digits)


def interval_cell(figure: Mapping[str, float | None], times: float, digits: int, sign: str = "") -> str:
    value, low, high = (figure[name] for name in ("value", "low", "high"))
    if value is None:
        return "–"
    text = f"{times * value:{sign}.{digits}f}"
    if low is None or high is None:
        return text
    return f"{text} ({times * low:{sign}.{digits}f}…{times * high:{sign}.{digits}f})"
