"""`thumbwheel demo`: runs the story of `worker.demo` on servers of its own in a temporary folder."""

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from app import services, settings
from app.cli.stack import Stack, interruptible, running
from app.errors import Unavailable

WATCH_SECONDS = 0.5
STORY_STOP_SECONDS = 10
#: Settings of the demo, which replace the user's: servers of its own, and ticks so frequent that runs start soon.
OWN = {
    "database_url": None,
    "redis_url": None,
    "artifacts_url": None,
    "port": 0,
    "page_access": "open",
    "tick_seconds": 2,
}
INTERRUPTED = 130


def demo(
    seed: Annotated[int, typer.Option(min=0, max=100_000_000, help="Another seed gives other tickets and votes.")] = 1,
    full: Annotated[
        bool, typer.Option("--full", help="Also train a careless recipe, which the gates refuse: ten minutes.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON on stdout at the end.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep everything running until Ctrl-C.")] = False,
) -> None:
    """Watch a tiny support desk's model learn from its users' thumbs: the whole loop, twice, in six minutes."""
    started = time.monotonic()
    interruptible()
    cache = settings.current().data_dir / "demo"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"The demo stopped: {error}", code="data_folder_unusable") from error
    try:
        with services.temporary() as folder, (folder / "demo.log").open("w", buffering=1) as log:
            config = settings.current().model_copy(update={**OWN, "data_dir": folder / "data"})

            def note(name: str, line: str) -> None:
                log.write(f"{name} | {line}\n")

            typer.echo("Starting Postgres, Valkey, API, worker and beat …", err=True)
            with running(config, note, durable=False) as stack:
                typer.echo(f"Status page: {stack.base_url}", err=True)
                options = [*(["--full"] if full else []), *(["--json"] if json else [])]
                _run_story(stack, cache, seed, options, spent=time.monotonic() - started)
                if keep:
                    typer.echo(f"Still running at {stack.base_url} until Ctrl-C. In another terminal:", err=True)
                    typer.echo(f"export THUMBWHEEL_URL={stack.base_url}", err=True)
                    typer.echo(f"export THUMBWHEEL_API_KEY={stack.admin_key}", err=True)
                    _watch_until(stack, threading.Event())
    except KeyboardInterrupt:
        typer.echo("Stopped; nothing is left behind.", err=True)
        raise typer.Exit(0 if keep else INTERRUPTED) from None


def _run_story(stack: Stack, cache: Path, seed: int, options: Sequence[str], *, spent: float) -> None:
    """Runs the story to its end and keeps its base models in `cache`.

    Raises `typer.Exit` with the exit code of a story that failed.
    """
    command: list[str | Path] = [sys.executable, "-m", "worker.demo", "--cache", cache, "--seed", str(seed)]
    command += ["--spent", f"{spent:.1f}", *options]
    environment = {**stack.environment, "THUMBWHEEL_API_KEY": stack.admin_key or ""}
    story = subprocess.Popen(services.tethered(command), env=environment)
    ended = threading.Event()

    def wait() -> None:
        story.wait()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    try:
        _watch_until(stack, ended)
    finally:
        if story.poll() is None:
            story.terminate()
            try:
                story.wait(STORY_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                story.kill()
    if story.returncode:
        raise typer.Exit(story.returncode if story.returncode > 0 else 2)


def _watch_until(stack: Stack, ended: threading.Event) -> None:
    """Restarts processes that died, until `ended` is set. Raises `Unavailable` if a server died too often."""
    while not ended.wait(WATCH_SECONDS):
        stack.watch()
