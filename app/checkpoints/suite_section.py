"""The section of the model card on the project's suites. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

HEAD = ("suite", "version", "tests", "passed: this", "passed: shipped", "difference", "interval", "undecided")


def rows(suites: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Returns a row of the table for each suite of the scores."""
    return [
        (
            name,
            str(figures["version"]),
            f"{figures['tests']:,}",
            _share(figures["candidate"]["pass_share"]),
            _share(figures["shipped"]["pass_share"]),
            *_difference(figures["difference_to_shipped"]),
            _undecided(figures),
        )
        for name, figures in suites.items()
    ]


def regressions(worst: Sequence[Mapping[str, Any]]) -> str:
    """Returns the tests that the shipped checkpoint passed and this one fails, with both outputs quoted."""
    return "\n\n".join(_regression(item) for item in worst)


def _regression(item: Mapping[str, Any]) -> str:
    description = f" ({_line(item['description'])})" if item["description"] else ""
    place = f"**{_line(item['suite'])}, test {item['test']}**{description}, prompt {_line(item['prompt_label'])}"
    outputs = (*_quoted("shipped", item["shipped"]), "", *_quoted("this checkpoint", item["candidate"]))
    return "\n".join((f"{place}: {_line(item['reason'])}", "", *outputs))


def _quoted(model: str, output: str) -> list[str]:
    """Returns an output as an indented block, in which Markdown has no meaning."""
    return [f"{model}:", "", *(f"    {line}" for line in output.splitlines() or ["(empty)"])]


def _line(text: str) -> str:
    """Returns a text of others on one line, without Markdown's meaning for its characters."""
    return "".join(
        f"\\{character}" if character in "\\`*_[]<>#|" else character for character in " ".join(text.split())
    )


def _share(figure: Mapping[str, Any]) -> str:
    return "none" if figure["value"] is None else f"{figure['value']:.1%}"


def _difference(figure: Mapping[str, Any]) -> tuple[str, str]:
    if figure["value"] is None:
        return "none", str(figure.get("reason") or "")
    return f"{100 * figure['value']:+.1f} points", f"{100 * figure['low']:+.1f} … {100 * figure['high']:+.1f}"


def _undecided(figures: Mapping[str, Any]) -> str:
    count = figures["candidate"]["undecided"]
    return f"{count:,}: {figures['undecided_reason']}" if count else "0"
