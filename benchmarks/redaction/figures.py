"""Precision and recall of detectors on made texts, with intervals."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from app.statistics.shares import wilson
from benchmarks.redaction.corpus import MadeText

#: A finder returns kind, start and end of each value that it found.
Finder = Callable[[str], Sequence[tuple[str, int, int]]]


class Share(NamedTuple):
    successes: int
    trials: int

    def document(self) -> dict[str, Any]:
        interval = wilson(self.successes, self.trials)
        return {
            "of": self.trials,
            "share": round(self.successes / self.trials, 5) if self.trials else None,
            "low": round(interval[0], 5) if interval else None,
            "high": round(interval[1], 5) if interval else None,
        }


def measured(find: Finder, positives: Iterable[MadeText], negatives: Iterable[MadeText]) -> dict[str, Any]:
    """Returns recall by group, precision by kind, and the share of lookalikes in which anything was found.

    recall      values that a span of their kind covers wholly
    exact       values of which a span of their kind has both ends right
    precision   found spans that overlap a value of their kind, over positive and negative texts
    mistaken    negative texts with a span of any kind
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    spans: dict[str, Counter[str]] = defaultdict(Counter)
    for made in positives:
        found = find(made.text)
        own = [(start, end) for kind, start, end in found if kind == made.kind]
        counts[made.group]["texts"] += 1
        counts[made.group]["covered"] += any(start <= made.start and end >= made.end for start, end in own)
        counts[made.group]["exact"] += (made.start, made.end) in own
        for kind, start, end in found:
            spans[kind]["found"] += 1
            spans[kind]["right"] += kind == made.kind and start < made.end and end > made.start
    lookalikes: dict[str, Counter[str]] = defaultdict(Counter)
    for made in negatives:
        found = find(made.text)
        lookalikes[made.group]["texts"] += 1
        lookalikes[made.group]["mistaken"] += bool(found)
        for kind, _, _ in found:
            spans[kind]["found"] += 1
    total = sum(lookalikes.values(), Counter())
    return {
        "recall": {
            group: {
                **Share(count["covered"], count["texts"]).document(),
                "exact": round(count["exact"] / count["texts"], 5),
            }
            for group, count in counts.items()
        },
        "precision": {kind: Share(count["right"], count["found"]).document() for kind, count in sorted(spans.items())},
        "mistaken": {
            group: Share(count["mistaken"], count["texts"]).document()
            for group, count in [*lookalikes.items(), ("all", total)]
        },
    }


def table(report: dict[str, Any]) -> str:
    """Returns the figures as two tables in Markdown."""
    lines = ["| values | recall, % | both ends right, % |", "|---|---|---:|"]
    lines += [
        f"| {group} | {_cell(row)} | {100 * row['exact']:.1f} |" for group, row in report["recall"].items()
    ]  # fmt: skip
    lines += ["", "| kind | precision, % | found |", "|---|---|---:|"]
    lines += [f"| {kind} | {_cell(row)} | {row['of']:,} |" for kind, row in report["precision"].items()]
    lines += ["", "| lookalike | taken for a value, % |", "|---|---|"]
    lines += [f"| {group} | {_cell(row)} |" for group, row in report["mistaken"].items()]
    return "\n".join(lines)


def _cell(row: dict[str, Any]) -> str:
    return f"{100 * row['share']:.1f} ({100 * row['low']:.1f}…{100 * row['high']:.1f})"
