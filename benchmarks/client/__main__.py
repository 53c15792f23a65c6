"""`make bench-client`: what a put into the feedback queue costs a product's request.

A product in a process of its own answers 100 requests a second, in fifty threads and then in fifty tasks of one event
loop, while the API is healthy, takes two seconds for every answer, and is away. In every second turn its requests
register an answer of 5 kB and put a thumb; in the others they do the same work without. Progress goes to stderr; a
table and, in the last line, all figures as one JSON object go to stdout. A whole run also writes them to
benchmarks/results.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from app import services
from benchmarks.ingest.servers import OURS, backend, serving
from benchmarks.machine import described

RESULTS = Path(__file__).resolve().parents[1] / "results" / "client.json"
MODES = ("threads", "asyncio")
SECONDS = 30.0
SLOW_SECONDS = 2.0
BOUND_MS = 0.2


class _Slow(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(SLOW_SECONDS)
        items = [{"status": "stored"}] * (body.count(b"\n") + 1)
        content = json.dumps({"status": "stored", "items": items}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_PUT = do_POST

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def slow_api() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Slow)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def measured(url: str, key: str, seconds: float, name: str, console: Console) -> dict[str, Any]:
    """Returns the figures of a product in each mode that sends its feedback to `url`."""
    results: dict[str, Any] = {}
    for mode in MODES:
        console.print(f"the API is {name}, {mode}", highlight=False)
        command = [sys.executable, "-m", "benchmarks.client.product", url, mode, str(seconds)]
        environment = {**os.environ, "THUMBWHEEL_API_KEY": key}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        results[mode] = json.loads(done.stdout.splitlines()[-1])
    return results


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.client", description="Measures what a put costs.")
    parser.add_argument("--quick", action="store_true", help="a few seconds; writes no results")
    parser.add_argument("--note", default="", help="about the machine, kept with the results")
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    seconds = 6.0 if options.quick else SECONDS
    results: dict[str, Any] = {}
    with backend() as servers, serving(OURS, servers.environment) as api:
        results["healthy"] = measured(api.url, servers.key, seconds, "healthy", console)
    with slow_api() as url:
        results["slow"] = measured(url, "tw_x", seconds, "slow", console)
    results["away"] = measured(f"http://127.0.0.1:{services.free_port()}", "tw_x", seconds, "away", console)
    table = Table("", title="Milliseconds in a request", title_justify="left")
    columns = [(name, mode) for name in results for mode in MODES]
    for name, mode in columns:
        table.add_column(f"{name}, {mode}", justify="right")
    for figure in results["healthy"]["threads"]:
        table.add_row(figure.replace("_", " "), *(f"{results[name][mode][figure]:g}" for name, mode in columns))
    Console(width=None if sys.stdout.isatty() else 150).print(table)
    document = {
        **results, "seconds": seconds, "bound_ms": BOUND_MS, "note": options.note,
        "machine": described("httpx", "pydantic"),
    }  # fmt: skip
    if not options.quick:
        RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
