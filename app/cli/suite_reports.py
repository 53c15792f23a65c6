"""The result of `thumbwheel suites run`: tables at a terminal, a JSON document, and an exit code."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from app.cli.listing import console, figure

if TYPE_CHECKING:
    from app.suites.report import Counts, SampleOutcome, SuiteReport

PASSED, FAILED, UNDECIDED = 0, 1, 3
#: Outcomes that a terminal shows.
SHOWN = 20
#: Characters of a reason at a terminal.
REASON = 300


def exit_code(reports: "Sequence[SuiteReport]") -> int:
    """Returns 1 if a test failed, else 3 if one is undecided, else 0."""
    counts = [report.counts for report in reports]
    if any(count.failed for count in counts):
        return FAILED
    return UNDECIDED if any(count.undecided for count in counts) else PASSED


def report_document(
    reports: "Sequence[SuiteReport]",
    target: Mapping[str, Any],
    sampling: Mapping[str, Any],
    judge: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Returns everything about the suites as JSON values; `judge` is what it has cost."""
    from app.suites.report import counts_of

    return {
        **target,
        "sampling": sampling,
        "judge": judge,
        **counts_of(outcome for report in reports for outcome in report.outcomes).document(),
        "suites": [report.document() for report in reports],
    }


def show_reports(reports: "Sequence[SuiteReport]", judge: Mapping[str, Any] | None) -> None:
    """Prints a table of the suites, one of their metrics, the tests that did not pass, and what the judge has cost."""
    from rich.table import Table
    from rich.text import Text

    columns = ("suite", "passed", "failed", "undecided", "pass share", "95 % interval")
    table = Table(columns[0], box=None, header_style="bold", pad_edge=False)
    for column in columns[1:]:
        table.add_column(column, justify="right")
    for report in reports:
        table.add_row(Text(report.suite.name), *_cells(report.counts))
    console().print(table)
    metrics = [(report, metric, score) for report in reports for metric, score in report.metrics().items()]
    if metrics:
        table = Table("suite", "metric", box=None, header_style="bold", pad_edge=False)
        for column in ("mean score", "decided", "undecided"):
            table.add_column(column, justify="right")
        for report, metric, score in metrics:
            numbers = (figure(score.score), f"{score.decided:,}", f"{score.undecided:,}")
            table.add_row(Text(report.suite.name), Text(metric), *numbers)
        console().print()
        console().print(table)
    for verdict in ("failed", "undecided"):
        _show_outcomes(reports, verdict)
    if judge is not None:
        spent = "; its budget is spent" if judge["budget_spent"] else ""
        line = (
            f"\njudge {judge['model']}: {judge['requests']:,} requests, {judge['tokens']:,} tokens, "
            f"{judge['from_cache']:,} answers kept earlier{spent}"
        )
        console().print(line, markup=False)


def _cells(counts: "Counts") -> tuple[str, ...]:
    numbers = (f"{number:,}" for number in (counts.passed, counts.failed, counts.undecided))
    if counts.share is None or counts.interval is None:
        return (*numbers, "–", "–")
    low, high = counts.interval
    return (*numbers, f"{counts.share:.1%}", f"{low:.1%} … {high:.1%}")


def _show_outcomes(reports: "Sequence[SuiteReport]", verdict: str) -> None:
    lines = [
        _line(report, outcome)
        for report in reports
        for outcome in report.outcomes
        if outcome.graded.graded.verdict == verdict
    ]
    if not lines:
        return
    console().print(f"\n{verdict}:", markup=False)
    for line in lines[:SHOWN]:
        console().print(f"  {line}", markup=False, soft_wrap=True)
    if len(lines) > SHOWN:
        console().print(f"  … and {len(lines) - SHOWN:,} more; --json prints all of them")


def _line(report: "SuiteReport", outcome: "SampleOutcome") -> str:
    from app.errors import brief

    named = f" ({outcome.description})" if outcome.description else ""
    reason = brief(" ".join(outcome.graded.graded.reason.split()), REASON)
    return f"{report.suite.name} tests[{outcome.test}]{named}, prompt {outcome.prompt}: {reason}"
