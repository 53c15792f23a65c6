"""The status page in a real browser: what a person sees, and that nothing on it is broken."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from thumbwheel import Client, wire

from app.cli.stack import Stack

pytestmark = [pytest.mark.pages, pytest.mark.xdist_group("stack")]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed (Debian: apt install chromium): the page's tests need one")
    with sync_playwright() as playwright:
        # Chromium's own sandbox refuses to run as root; the only page it opens is ours.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, stack: Stack) -> Iterator[Page]:
    context = browser.new_context(http_credentials={"username": "anybody", "password": stack.admin_key or ""})
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    yield page
    assert faults == []
    context.close()


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with Client(stack.base_url, api_key=stack.admin_key) as client:
        yield client


def test_a_new_project_shows_its_base_model_live_and_what_is_missing_for_a_run(
    page: Page, stack: Stack, client: Client
) -> None:
    client.create_project(wire.NewProject(project="page-new", base_model="/models/none"))

    page.goto(f"{stack.base_url}/?project=page-new")

    assert "the base model" in page.locator("#live").inner_text()
    assert "Not enough for a run" in page.locator("#labels").inner_text()
    assert "none yet" in page.locator("#runs").inner_text()


def test_labels_appear_without_a_reload(page: Page, stack: Stack, client: Client) -> None:
    client.create_project(wire.NewProject(project="page-live", base_model="/models/none"))
    page.goto(f"{stack.base_url}/?project=page-live")
    row = page.locator("#labels tr", has_text="for the next run").locator("td").nth(1)
    assert row.inner_text() == "0"

    with Client(stack.base_url, api_key=stack.admin_key, project="page-live") as backend:
        backend.feedback("c-1", "a-1", "up", prompt="Hello?", completion="Good day.")

    page.locator("#labels td", has_text="1").first.wait_for(timeout=15_000)
    assert row.inner_text() == "1"


def test_texts_of_users_are_shown_as_texts(page: Page, stack: Stack, client: Client) -> None:
    client.create_project(wire.NewProject(project="page-safe", base_model="/<script>throw new Error('run')</script>"))

    page.goto(f"{stack.base_url}/?project=page-safe")

    assert page.locator("#live").is_visible()


def test_the_page_asks_for_a_key(browser: Browser, stack: Stack) -> None:
    context = browser.new_context()
    try:
        answer = context.request.get(f"{stack.base_url}/")
        assert answer.status == 401
        assert "API key" in answer.headers["www-authenticate"]
    finally:
        context.close()
