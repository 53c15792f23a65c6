"""A project on a real API, and a site of another origin that serves pages and the JavaScript client."""

import mimetypes
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from thumbwheel import Client, wire

from tests.conftest import Servers
from tests.served import served

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "client-js"

#: No inline script or style, no HTML from strings, and no requests but to the API.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src http:; require-trusted-types-for 'script'"
)

HEAD = "<!doctype html><html lang=en><meta charset=utf-8><title>A shop</title>"


@dataclass
class Site:
    """Pages by path, beside the sources of the client under `/thumbwheel/`."""

    origin: str
    pages: dict[str, str] = field(default_factory=dict)

    def page(self, body: str) -> str:
        """Adds a page and returns its URL."""
        path = f"/{len(self.pages)}.html"
        self.pages[path] = body if body.startswith("<!doctype") else f"{HEAD}{body}"
        return self.origin + path


@pytest.fixture(scope="session")
def node() -> str:
    """The program of Node. Tests are skipped if it is not installed."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("no node is installed (Debian: apt install nodejs): the JavaScript client is not tested")
    return program


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path in made.pages:
                self._answer(mimetypes.guess_type(path)[0] or "text/html", made.pages[path].encode())
            elif path.startswith("/thumbwheel/"):
                file = PACKAGE / "src" / Path(path).name
                self._answer(mimetypes.guess_type(file.name)[0] or "text/plain", file.read_bytes())
            else:
                self.send_error(404)

        def _answer(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Security-Policy", POLICY)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Site(f"http://localhost:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def url(migrated: Servers) -> Iterator[str]:
    with served() as url:
        yield url


@pytest.fixture
def client(url: str, admin_key: str) -> Iterator[Client]:
    with Client(url, api_key=admin_key, project="acme") as client:
        client.projects.create(wire.NewProject(project="acme", base_model="/models/base", suites=[]))
        yield client


@pytest.fixture
def browser_key(client: Client) -> Callable[..., str]:
    """A function: `browser_key(origin, actor_per_minute=2)` returns the secret of a new browser key."""

    def make(origin: str, **limits: int) -> str:
        new = wire.NewKey(
            name="page",
            scopes=["feedback:write"],
            project="acme",
            origins=[origin],
            limits=wire.KeyLimits(**limits) if limits else None,
        )
        return client.keys.create(new).secret

    return make


@pytest.fixture
def server_key(client: Client) -> str:
    return client.keys.create(wire.NewKey(name="backend", scopes=["feedback:write"], project="acme")).secret
