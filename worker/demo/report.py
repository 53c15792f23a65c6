"""How the story ends: the table for a reader, and the one line of JSON for a program."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from worker.demo.language import Ticket, reasons_against
from worker.demo.measure import Figure, Measured


@dataclass(frozen=True)
class Chapter:
    """One model of the story: the base, or what a round shipped. KLs are None where nothing came before."""

    name: str
    checkpoint_id: str
    measured: Measured
    approval: Figure | None
    kl_to_base: Figure | None
    kl_to_previous: Figure | None


def document(chapters: Sequence[Chapter], seed: int, seconds: float) -> dict[str, Any]:
    """The figures under the names base, round1, round2; lengths relative to the base, KL in nats per reply."""
    keys = ["base", *(f"round{number}" for number in range(1, len(chapters)))]
    base = chapters[0].measured.median_words
    by_key = dict(zip(keys, chapters, strict=True))
    return {
        "good_share": {key: asdict(chapter.measured.good_share) for key, chapter in by_key.items()},
        "invented_refund_share": {key: asdict(one.measured.invented_refund_share) for key, one in by_key.items()},
        "length_ratio": {key: one.measured.median_words / base for key, one in by_key.items() if key != "base"},
        "kl_nats": {
            key: {"from_base": asdict(one.kl_to_base), "from_previous": asdict(one.kl_to_previous)}
            for key, one in by_key.items()
            if one.kl_to_base and one.kl_to_previous
        },
        "approval": {one.checkpoint_id: asdict(one.approval) if one.approval else None for one in chapters},
        "seed": seed,
        "seconds": round(seconds, 1),
    }


def table(chapters: Sequence[Chapter], tickets: int) -> Table:
    title = f"Measured on {tickets} tickets that nobody had voted on (intervals cover 95 %)"
    rows = Table(title=title, title_justify="left")
    rows.add_column("")
    for chapter in chapters:
        rows.add_column(chapter.name, justify="right")
    base = chapters[0].measured.median_words
    rows.add_row("good replies", *(_percent(one.measured.good_share) for one in chapters), style="bold")
    rows.add_row("invented refunds", *(_percent(one.measured.invented_refund_share) for one in chapters))
    rows.add_row(
        "median length, words",
        *(f"{one.measured.median_words:g} (×{one.measured.median_words / base:.2f})" for one in chapters),
    )
    rows.add_row("KL from the base, nats a reply", *(_nats(one.kl_to_base) for one in chapters))
    rows.add_row("KL from the one before", *(_nats(one.kl_to_previous) for one in chapters))
    rows.add_row("users' approval, live", *(_percent(one.approval) if one.approval else "–" for one in chapters))
    return rows


def example(tickets: Sequence[Ticket], chapters: Sequence[Chapter]) -> RenderableType:
    """The first ticket whose reply was bad before and is good in the last round, with what was wrong."""
    first, last = chapters[0], chapters[-1]
    pairs = zip(tickets, first.measured.replies, last.measured.replies, strict=True)
    for ticket, before, after in pairs:
        reasons = reasons_against(ticket, before.text)
        if reasons and "unclear" not in reasons and not reasons_against(ticket, after.text):
            return Group(
                Panel(ticket.prompt.removesuffix("\nReply:\n"), title="A ticket", title_align="left"),
                Panel(Text(before.text, "red"), title=f"{first.name}: {', '.join(reasons)}", title_align="left"),
                Panel(Text(after.text, "green"), title=f"{last.name}: good", title_align="left"),
            )
    return Text("No ticket's reply turned from bad to good.")


def _percent(figure: Figure) -> str:
    return f"{figure.value:.0%} ({100 * figure.low:.0f}–{100 * figure.high:.0f})"


def _nats(figure: Figure | None) -> str:
    return "–" if figure is None else f"{figure.value:.2f} ({figure.low:.2f}–{figure.high:.2f})"
