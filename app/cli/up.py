"""`thumbwheel up`: runs everything in one terminal until Ctrl-C."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app import settings

if TYPE_CHECKING:
    from rich.console import Console

    from app.cli.stack import Stack

COLOURS = {"api": "cyan", "gateway": "cyan", "beat": "magenta", "thumbwheel": "green"}
WORKER_COLOUR = "yellow"
WATCH_SECONDS = 0.5


class Terminal:
    """Prints the lines of several processes after their names: in colour at a terminal, plain to a file."""

    def __init__(self, console: "Console") -> None:
        self.console = console
        self.lock = threading.Lock()

    def say(self, name: str, line: str) -> None:
        from rich.text import Text

        prefix = Text(f"{name:>10} | ", style=COLOURS.get(name, WORKER_COLOUR))
        with self.lock:
            self.console.print(prefix + Text(line), soft_wrap=True)


def up(
    port: Annotated[int | None, typer.Option(help="Port of the API; 0 takes a free one.  [default: 8000]")] = None,
    host: Annotated[str | None, typer.Option(help="Address the API listens on.  [default: 127.0.0.1]")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of artifacts and embedded servers.  [default: THUMBWHEEL_DATA_DIR]")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Workers for runs on this machine.")] = 1,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="Same as --workers 0.")] = False,
    gateway: Annotated[
        bool, typer.Option("--gateway", help="Also run the gateway, on the port THUMBWHEEL_GATEWAY_PORT.")
    ] = False,
) -> None:
    """Run Postgres, Redis, API, worker and beat in this terminal, until Ctrl-C.

    Postgres and Redis are embedded unless THUMBWHEEL_DATABASE_URL and THUMBWHEEL_REDIS_URL name running ones.
    """
    from rich.console import Console

    from app.cli.stack import interruptible, running

    options = {"port": port, "host": host, "data_dir": data_dir}
    config = settings.current().model_copy(update={name: value for name, value in options.items() if value is not None})
    terminal = Terminal(Console(highlight=False))
    interruptible()
    try:
        terminal.say("thumbwheel", f"starting in {config.data_dir}; Ctrl-C stops everything")
        with running(config, terminal.say, workers=0 if no_worker else workers, gateway=gateway) as stack:
            _announce(terminal, stack)
            pause = threading.Event()
            while True:
                stack.watch()
                pause.wait(WATCH_SECONDS)
    except KeyboardInterrupt:
        terminal.say("thumbwheel", "stopped")


def _announce(terminal: Terminal, stack: "Stack") -> None:
    terminal.say("thumbwheel", f"up: {stack.base_url} (status page), {stack.base_url}/docs (API)")
    if stack.gateway_url:
        terminal.say("thumbwheel", f"gateway: {stack.gateway_url} is the base URL of OpenAI's clients")
    if stack.admin_key:
        terminal.say("thumbwheel", f"first admin key, shown this once: {stack.admin_key}")
        terminal.say("thumbwheel", f"in another terminal: export THUMBWHEEL_API_KEY={stack.admin_key}")
    else:
        terminal.say("thumbwheel", "an admin key exists; if it is lost: thumbwheel keys first --replace")
    if stack.base_url != "http://127.0.0.1:8000":
        terminal.say("thumbwheel", f"in another terminal: export THUMBWHEEL_URL={stack.base_url}")
