"""The table of families: counted, summed up in a line, and as Markdown in docs/parity.md."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "families.json"
PAGE = ROOT / "docs" / "parity.md"
BEGIN, END = "<!-- families: written by make families -->", "<!-- end of families -->"
OUTCOMES = ("packed", "padded", "refused", "wrong", "crashed")
MEASURES = ("log_prob", "mismatched", "gradient", "in_bf16")

#: A family of the table: its results, or the reason why no toy was built.
Line = Mapping[str, Any]


def figures(lines: Mapping[str, Line]) -> dict[str, int]:
    """Counts families, and readings by their outcome: four of each family, with every precision and method."""
    built = [line["results"] for line in lines.values() if "results" in line]
    outcomes = Counter(result["outcome"] for results in built for result in results)
    counted = {name: outcomes[name] for name in OUTCOMES}
    return {"families": len(built), **counted, "not_built": len(lines) - len(built)}


def summary(line: Line) -> str:
    """Returns a summary of one line for the terminal."""
    if "not_built" in line:
        return f"not built ({line['not_built'][:80]})"
    figures_of = ", ".join(f"{name} {value:.1e}" for name in MEASURES[:3] if (value := worst(line, name)) is not None)
    return f"{ways(line)}{': ' if figures_of else ''}{figures_of}"


def ways(line: Line) -> str:
    """Returns the outcome, or each outcome with its settings if they differ."""
    outcomes: dict[str, list[str]] = {}
    for result in line["results"]:
        outcomes.setdefault(result["outcome"], []).append(f"{result['precision']} {result['method']}")
    if len(outcomes) == 1:
        return next(iter(outcomes))
    by_method = {
        method: {r["outcome"] for r in line["results"] if r["method"] == method} for method in ("lora", "full")
    }
    if all(len(distinct) == 1 for distinct in by_method.values()):
        return ", ".join(f"{method}: {distinct.pop()}" for method, distinct in by_method.items())
    return ", ".join(f"{outcome}: {' and '.join(settings)}" for outcome, settings in outcomes.items())


def worst(line: Line, measure: str) -> float | None:
    """The largest of the family's differences."""
    return max((value for result in line["results"] if (value := result[measure]) is not None), default=None)


def markdown(stored: Mapping[str, Any]) -> Iterator[str]:
    counted, machine, lines = stored["figures"], stored["machine"], stored["families"]
    versions = ", ".join(f"{name} {machine[name]}" for name in ("transformers", "torch", "peft"))
    outcomes = ", ".join(f"{counted[name]} {name}" for name in OUTCOMES)
    yield f"{versions}: {counted['families']} families, four readings each: {outcomes}."
    yield ""
    yield "| family | read | log-probs | mismatched | gradients | in bf16 | why not packed |"
    yield "|---|---|---:|---:|---:|---:|---|"
    for family, line in sorted(lines.items()):
        if "results" in line:
            cells = [_cell(worst(line, measure)) for measure in MEASURES]
            reasons = dict.fromkeys(_short(result["reason"]) for result in line["results"] if result["reason"])
            yield f"| {family} | {ways(line)} | {' | '.join(cells)} | {'; '.join(reasons)} |"
    yield ""
    yield "Not built at toy size:"
    yield ""
    for family, line in sorted(lines.items()):
        if "not_built" in line:
            yield f"- {family}: {line['not_built']}"


def write(stored: Mapping[str, Any]) -> None:
    """Puts the table between its marks in docs/parity.md."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + "\n".join([BEGIN, "", *markdown(stored), "", END]) + after)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.0e}"


def _short(reason: str) -> str:
    """Returns a reason without its figures, which differ from setting to setting, and without its remedy."""
    return reason.partition(" (")[0].replace("|", "\\|").removeprefix("base_model: ")[:160]
