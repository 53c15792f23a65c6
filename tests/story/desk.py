"""A tiny support desk for the stories: a project, a random model, and replies whose quality shows in a few words."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from thumbwheel import wire
from thumbwheel.client import Client

from app.cli.stack import Stack

TOPICS = ("parcel", "refund", "order", "card", "box", "delay", "invoice", "account")
GOOD, BAD = " sorry, help is soon here", " wait, no card no box"
#: A recipe that quickly learns the difference between the replies above.
RECIPE: dict[str, Any] = {
    "method": "full", "learning_rate": 5e-3, "beta": 0.2, "batch_size": 8, "micro_batch_size": 4, "epochs": 6,
    "max_length": 96, "save_every_steps": 5,
    "drift": {"checks": 2, "prompts": 4, "max_new_tokens": 8},
    "evaluation": {"kl_prompts": 4, "kl_max_new_tokens": 8, "bootstrap": 100},
}  # fmt: skip
#: Gates of the toy preset, but with wide margins and a tiny holdout.
LENIENT_GATES = wire.GateDocument(
    name="lenient",
    minimum=wire.GateMinimum(groups=1, rows_of_each_class=1),
    rules=(
        wire.GateRule(metric="auroc", above=0.5),
        wire.GateRule(metric="auroc", compared_with="shipped", at_least=-0.5),
        wire.GateRule(metric="kl.nats_per_token", at_most=1000),
        wire.GateRule(metric="length.ratio", compared_with="shipped", at_least=0.5, at_most=2),
    ),
    findings=wire.FindingRules(refused=("rewards_fall", "classes_not_separated")),
)
ENDED = {"succeeded", "failed", "cancelled"}


def events(count: int, start: int = 0) -> list[wire.Event]:
    """Returns votes on replies, of which every second one is good."""
    return [
        wire.Event(
            event_id=f"vote-{number}",
            completion_id=f"reply-{number}",
            actor=f"user-{number % 7}",
            prompt=f"{number} {TOPICS[number % len(TOPICS)]}:",
            completion=GOOD if number % 2 else BAD,
            signal=wire.Thumbs(value="up" if number % 2 else "down"),
        )
        for number in range(start, start + count)
    ]


@contextmanager
def desk(stack: Stack, project: str, base_model: Path, **configuration: Any) -> Iterator[Client]:
    """Creates a project and yields a client for it."""
    with Client(stack.base_url, stack.admin_key, project) as client:
        chosen = {
            "recipe": {"preset": "cpu-demo", "changes": RECIPE},
            "gates": LENIENT_GATES,
            "snapshot": {"minimum_per_class": 10, "holdout_share": 0.3},
            **configuration,
        }
        client.projects.create(wire.NewProject(project=project, base_model=str(base_model), suites=[], **chosen))
        yield client


def wait(stack: Stack, what: str, condition: Callable[[], Any], seconds: float = 240) -> Any:
    """Waits until `condition` returns a true value and returns it; restarts dead processes meanwhile."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen in time"
        stack.watch()
        time.sleep(0.1)
    return value


def ended(stack: Stack, client: Client, run_id: UUID) -> wire.Run:
    def look() -> wire.Run | None:
        run = client.runs.get(run_id)
        return run if run.state in ENDED else None

    return wait(stack, f"the end of run {run_id}", look)


def training_after(stack: Stack, client: Client, run_id: UUID, steps: int) -> wire.Run:
    """Waits until the run has reported `steps` steps and returns it."""

    def look() -> wire.Run | None:
        run = client.runs.get(run_id)
        assert run.state not in ENDED, f"{run.state} before it could be disturbed: {run.reason}"
        return run if run.last_metrics and run.last_metrics["step"] >= steps else None

    return wait(stack, f"step {steps} of run {run_id}", look)


def processes_with(text: str) -> dict[int, str]:
    """Returns the living processes whose command line contains `text`, by process id."""
    processes = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if text in command and state not in "ZX" and int(folder.name) != os.getpid():
            processes[int(folder.name)] = command
    return processes
