"""The examples of the JavaScript client, as they are in the repository, in a real browser."""

import os
import re
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from thumbwheel import Client, wire

from app.services import free_port, wait_until
from tests.client_js.conftest import PACKAGE, ROOT, Site

pytestmark = pytest.mark.pages

EXAMPLES = ROOT / "examples"
#: What npm says if no registry answers.
OFFLINE = re.compile(r"ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|ENETUNREACH|EIDLETIMEOUT")


def test_the_html_example_stores_a_thumb_on_what_the_backend_registered(url, client, site: Site, browser, browser_key):
    client.completions.register("msg-1042", wire.Completion(prompt="Where is my parcel?", completion="On its way."))
    source = (EXAMPLES / "html" / "index.html").read_text()
    placed = source.replace("https://feedback.example.com", url).replace('"twb_…"', f'"{browser_key(site.origin)}"')
    site.pages["/page.css"] = (EXAMPLES / "html" / "page.css").read_text()
    page = browser.new_page()

    page.goto(site.page(placed))
    page.get_by_role("button", name="Good answer").click()
    expect(page.get_by_role("status")).to_have_text("Thank you.")
    page.close()

    label = client.completions.explain_label("msg-1042")
    assert label.label == "desirable"


def install(folder: Path) -> None:
    """Installs the packages that the lock file of a folder names. Skips the test if no registry answers."""
    if shutil.which("npm") is None:
        pytest.skip("no npm is installed: the Next.js example is not built")
    command = ["npm", "ci", "--no-audit", "--no-fund", "--fetch-retries", "1", "--fetch-timeout", "30000"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180)
    except subprocess.TimeoutExpired:
        pytest.skip("no npm registry answers in time: the Next.js example is not built")
    if done.returncode and OFFLINE.search(done.stderr):
        pytest.skip("no npm registry answers: the Next.js example is not built")
    assert done.returncode == 0, done.stderr


@contextmanager
def started(node: str, folder: Path, port: int, environment: dict[str, str]) -> Iterator[None]:
    """Runs `next start` until the block ends."""
    program = [node, "node_modules/next/dist/bin/next", "start", "-p", str(port), "-H", "127.0.0.1"]
    log = folder / "start.log"
    with log.open("w") as lines:
        process = subprocess.Popen(
            program, cwd=folder, env=environment, stdout=lines, stderr=lines, start_new_session=True
        )
        try:
            assert wait_until(lambda: process.poll() is not None or _answers(port), 60), log.read_text()
            assert process.poll() is None, log.read_text()
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as response:
            return response.status == 200
    except OSError:
        return False


@pytest.mark.trial
@pytest.mark.timeout(560)
def test_the_nextjs_example_registers_its_answer_and_stores_a_thumb_on_it(
    node: str, url: str, client: Client, server_key: str, browser_key, browser: Browser, tmp_path: Path
):
    ignored = shutil.ignore_patterns("node_modules", "dist", ".next")
    shutil.copytree(PACKAGE, tmp_path / "client-js", ignore=ignored)
    example = tmp_path / "examples" / "nextjs"
    shutil.copytree(EXAMPLES / "nextjs", example, ignore=ignored)
    install(tmp_path / "client-js")
    install(example)
    port = free_port()
    environment = os.environ | {
        "NEXT_TELEMETRY_DISABLED": "1",
        "THUMBWHEEL_URL": url,
        "THUMBWHEEL_API_KEY": server_key,
        "THUMBWHEEL_PROJECT": "acme",
        "THUMBWHEEL_BROWSER_KEY": browser_key(f"http://127.0.0.1:{port}"),
    }
    built = subprocess.run(
        ["npm", "run", "build"], cwd=example, env=environment, capture_output=True, text=True, timeout=240
    )
    assert built.returncode == 0, built.stdout + built.stderr

    with started(node, example, port, environment):
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.get_by_role("textbox", name="Question").fill("Where is my parcel?")
        page.get_by_role("button", name="Ask").click()
        page.get_by_role("button", name="Good answer").click()
        expect(page.get_by_role("status")).to_have_text("Thank you.")
        [actor] = [cookie["value"] for cookie in page.context.cookies() if cookie["name"] == "actor"]
        page.close()

    [event] = client.events.list()
    assert (event.actor, event.signal) == (actor, {"kind": "thumbs", "value": "up"})
    registered = client.completions.get(event.completion_id)
    assert registered.prompt == [{"role": "user", "content": "Where is my parcel?"}]
    assert registered.completion == "You asked: “Where is my parcel?” It arrives tomorrow."
    assert client.completions.explain_label(event.completion_id).label == "desirable"
