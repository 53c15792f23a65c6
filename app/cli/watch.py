"""A run as it goes: one live line for a terminal, one plain line per change for a pipe."""

import json
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from uuid import UUID

from thumbwheel import Client, wire

from app.cli.listing import as_table, console, figure, seconds, when

if TYPE_CHECKING:
    from rich.progress import Progress

POLL_SECONDS = 1.0
ENDED = ("succeeded", "failed", "cancelled")


def watched(client: Client, run_id: UUID, *, as_json: bool) -> int:
    """Show the run until it ends. 0 where it succeeded, else 1."""
    live = as_table(as_json)
    said: Any = None
    figures: dict[str, Any] = {}  # the newest of each: drift, say, is measured a few times in a run
    with ExitStack() as stack:
        bar = stack.enter_context(_bar()) if live else None
        task = bar.add_task("", total=None, figures="") if bar is not None else None
        while True:
            run = client.run(run_id)
            figures |= {name: value for name, value in (run.last_metrics or {}).items() if value is not None}
            if bar is not None and task is not None:
                bar.update(
                    task,
                    description=run.state,
                    completed=run.phase_done,
                    total=run.phase_total or None,
                    figures=_figures(run, figures),
                )
            elif (now := (run.state, run.phase_done, run.phase_total)) != said:
                said = now
                sys.stdout.write((_json(run) if as_json else _line(run, figures)) + "\n")
                sys.stdout.flush()
            if run.state in ENDED:
                break
            time.sleep(POLL_SECONDS)
    if live:
        console().print(_line(run, figures))
    for warning in run.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    return 0 if run.state == "succeeded" else 1


def _bar() -> "Progress":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description:>12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        console=console(),
        transient=True,
    )


def _figures(run: wire.Run, last: Mapping[str, Any]) -> str:
    parts = [f"{seconds(run.eta_seconds)} left"] if run.eta_seconds is not None else []
    if last:
        rewards = f"{figure(last.get('reward_desirable'), 2)}/{figure(last.get('reward_undesirable'), 2)}"
        parts += [f"loss {figure(last.get('loss'))}", f"rewards {rewards}"]
    if "z0" in last:
        parts.append(f"z0 {figure(last['z0'], 2)}")
    if "kl_nats_per_token" in last:
        parts.append(f"drift {figure(last['kl_nats_per_token'])} nats/token")
    return "  ".join(parts)


def _line(run: wire.Run, figures: Mapping[str, Any]) -> str:
    done = f"{run.phase_done}/{run.phase_total}" if run.phase_total else ""
    if run.state in ENDED:
        what = f"checkpoint {run.checkpoint_id}" if run.checkpoint_id else run.reason or ""
        return f"{when(run.finished_at)}  run {run.id} {run.state}: {what}"
    return "  ".join(part for part in (run.state, done, _figures(run, figures)) if part)


def _json(run: wire.Run) -> str:
    shown = {"id", "state", "reason", "phase_done", "phase_total", "eta_seconds", "last_metrics", "checkpoint_id"}
    return json.dumps(run.model_dump(mode="json", include=shown))
