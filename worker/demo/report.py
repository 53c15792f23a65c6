"""The result of the story: a table for a reader, and one line of JSON for a program."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from worker.demo.language import Ticket, reasons_against
from worker.demo.measure import Figure, Measured
from worker.demo.replay import Replay


@dataclass(frozen=True)
class Chapter:
    """The figures of one model of the story: the base, or a round's. KLs and replay are None without an earlier
    model.
    """

    name: str
    checkpoint_id: str
    measured: Measured
    approval: Figure | None
    kl_to_base: Figure | None
    kl_to_previous: Figure | None
    replay: Replay | None = None


@dataclass(frozen=True)
class RefusedCandidate:
    """A checkpoint that the gates refused, with their reasons and the figures of its replies."""

    checkpoint_id: str
    verdict: str
    reasons: list[str]
    measured: Measured


def document(
    chapters: Sequence[Chapter], refused: RefusedCandidate | None, seed: int, seconds: float
) -> dict[str, Any]:
    """Returns the figures for a program.

    length_ratio  median words of the last round's replies over the base's
    kl_nats       KL of the last round's model from the base, in nats per reply
    intervals     [low, high] of the figures with the same names
    rounds        the same figures after each round, and the replay: shares of disliked replies that are mended, and of
                  liked ones that are broken
    refused       the candidate that the gates refused, in a full story: its verdict, reasons and good share
    """
    keys = ["base", *(f"round{number}" for number in range(1, len(chapters)))]
    by_key = dict(zip(keys, chapters, strict=True))
    rounds = {key: _round(chapter, chapters[0]) for key, chapter in by_key.items() if key != "base"}
    approvals = {chapter.checkpoint_id: chapter.approval for chapter in chapters if chapter.approval}
    good_shares = {key: chapter.measured.good_share for key, chapter in by_key.items()}
    last = rounds[keys[-1]]
    return {
        "good_share": {key: figure.value for key, figure in good_shares.items()},
        "length_ratio": last["length_ratio"],
        "kl_nats": last["kl_nats"],
        "approval": {checkpoint: figure.value for checkpoint, figure in approvals.items()},
        "seconds": round(seconds, 1),
        "seed": seed,
        "intervals": {
            "good_share": {key: [figure.low, figure.high] for key, figure in good_shares.items()},
            "approval": {checkpoint: [figure.low, figure.high] for checkpoint, figure in approvals.items()},
        },
        "invented_refund_share": {key: chapter.measured.invented_refund_share.value for key, chapter in by_key.items()},
        "rounds": rounds,
        "refused": None if refused is None else _refused(refused),
    }


def _refused(candidate: RefusedCandidate) -> dict[str, Any]:
    good = candidate.measured.good_share
    return {
        "checkpoint_id": candidate.checkpoint_id,
        "verdict": candidate.verdict,
        "reasons": candidate.reasons,
        "good_share": good.value,
        "interval": [good.low, good.high],
    }


def _round(chapter: Chapter, base: Chapter) -> dict[str, float | None]:
    replay = chapter.replay
    return {
        "length_ratio": chapter.measured.median_words / base.measured.median_words,
        "kl_nats": chapter.kl_to_base.value if chapter.kl_to_base else None,
        "kl_nats_from_previous": chapter.kl_to_previous.value if chapter.kl_to_previous else None,
        "mended_share": replay.mended.value if replay else None,
        "broken_share": replay.broken.value if replay else None,
    }


def table(chapters: Sequence[Chapter], tickets: int) -> Table:
    title = f"Measured on {tickets} tickets without votes (intervals cover 95 %)"
    rows = Table(title=title, title_justify="left")
    rows.add_column("")
    for chapter in chapters:
        rows.add_column(chapter.name, justify="right")
    base = chapters[0].measured.median_words
    rows.add_row("good replies", *(_percent(chapter.measured.good_share) for chapter in chapters), style="bold")
    rows.add_row("invented refunds", *(_percent(chapter.measured.invented_refund_share) for chapter in chapters))
    rows.add_row(
        "median length, words",
        *(f"{chapter.measured.median_words:g} (×{chapter.measured.median_words / base:.2f})" for chapter in chapters),
    )
    rows.add_row("KL from the base, nats per reply", *(_nats(chapter.kl_to_base) for chapter in chapters))
    rows.add_row("KL from the previous model", *(_nats(chapter.kl_to_previous) for chapter in chapters))
    replays = [chapter.replay for chapter in chapters]
    rows.add_row("disliked replies mended", *(_percent(replay.mended) if replay else "–" for replay in replays))
    rows.add_row("liked replies broken", *(_percent(replay.broken) if replay else "–" for replay in replays))
    approvals = (chapter.approval for chapter in chapters)
    rows.add_row("users' approval, live", *(_percent(approval) if approval else "–" for approval in approvals))
    return rows


def example(
    tickets: Sequence[Ticket], chapters: Sequence[Chapter], refused: RefusedCandidate | None = None
) -> RenderableType:
    """Returns the first ticket with a bad reply of the base and a good one of the last round, with the faults.

    In a full story the reply of the refused candidate to this ticket follows.
    """
    first, last = chapters[0], chapters[-1]
    pairs = zip(tickets, first.measured.replies, last.measured.replies, strict=True)
    for number, (ticket, before, after) in enumerate(pairs):
        reasons = reasons_against(ticket, before.text)
        if reasons and "unclear" not in reasons and not reasons_against(ticket, after.text):
            panels = [
                Panel(ticket.prompt.removesuffix("\nReply:\n"), title="A ticket", title_align="left"),
                _panel(ticket, before.text, first.name),
                _panel(ticket, after.text, last.name),
            ]
            if refused is not None:
                panels.append(_panel(ticket, refused.measured.replies[number].text, "refused"))
            return Group(*panels)
    return Text("No ticket's reply turned from bad to good.")


def _panel(ticket: Ticket, reply: str, name: str) -> Panel:
    reasons = reasons_against(ticket, reply)
    title = f"{name}: {', '.join(reasons) or 'good'}"
    return Panel(Text(reply, "red" if reasons else "green"), title=title, title_align="left")


def _percent(figure: Figure) -> str:
    return f"{figure.value:.0%} ({100 * figure.low:.0f}–{100 * figure.high:.0f})"


def _nats(figure: Figure | None) -> str:
    return "–" if figure is None else f"{figure.value:.2f} ({figure.low:.2f}–{figure.high:.2f})"
