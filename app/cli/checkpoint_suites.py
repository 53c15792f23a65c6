"""`thumbwheel checkpoints suites`: the figures of a checkpoint's suites, and what it wrote for their tests."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.checkpoints import Which
from app.cli.connection import AsJson, Project, connected, find_id
from app.cli.listing import as_table, console, figure, print_json, show_all

if TYPE_CHECKING:
    from thumbwheel import wire

#: Characters of an output in a table.
SHOWN = 200


def show_suites(
    checkpoint: Which,
    name: Annotated[str | None, typer.Argument(help="A suite: list its tests with their outputs.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only tests that the checkpoint does not pass.")] = False,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Show the figures of a checkpoint's suites, or the outputs and verdicts of one suite."""
    with connected(project) as client:
        checkpoint_id = find_id(checkpoint, client.checkpoints.list(), "checkpoint")
        if name is None:
            _show_figures(client.checkpoints.get(checkpoint_id).scores.get("suites") or {}, as_json)
            return
        outcomes = client.checkpoints.suite_outcomes(checkpoint_id, name)
        columns = {
            "test": lambda item: str(item.test),
            "prompt": lambda item: item.prompt_label,
            "this": lambda item: item.candidate.verdict,
            "shipped": lambda item: item.shipped.verdict,
            "reason": lambda item: item.candidate.reason,
            "output": lambda item: _short(item.candidate),
            "shipped's output": lambda item: _short(item.shipped),
        }
        shown = (item for item in outcomes if not failed or item.candidate.verdict != "passed")
        show_all(shown, columns, as_json=as_json)


def _short(answer: "wire.SuiteAnswer") -> str:
    from app.errors import brief

    return "–" if answer.output is None else brief(" ".join(answer.output.split()), SHOWN)


def _show_figures(suites: Mapping[str, Any], as_json: bool) -> None:
    if not as_table(as_json):
        print_json(suites)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("suite", "version", "tests", box=None, header_style="bold", pad_edge=False)
    for column in ("pass share", "shipped's", "difference", "undecided"):
        table.add_column(column, justify="right")
    for name, figures in suites.items():
        table.add_row(
            Text(name),
            str(figures["version"]),
            f"{figures['tests']:,}",
            figure(figures["candidate"]["pass_share"]),
            figure(figures["shipped"]["pass_share"]),
            figure(figures["difference_to_shipped"]),
            f"{figures['candidate']['undecided']:,}",
        )
    console().print(table if table.row_count else "none: the run had no suites")
