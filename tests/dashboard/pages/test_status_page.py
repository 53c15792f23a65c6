"""The status page in a real browser: its visible content, and no errors in the console."""

from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page
from thumbwheel import Client, wire

from app import services
from tests.conftest import Servers
from tests.served import served

pytestmark = pytest.mark.pages

#: Time after which the page refreshes itself.
REFRESH_MS = 3_000


@pytest.fixture(scope="module")
def url(migrated: Servers) -> Iterator[str]:
    with served() as url:
        yield url


@pytest.fixture
def faults() -> list[str]:
    """A list of the errors in the console of the page. A test removes those that it provokes; no other may be left."""
    return []


@pytest.fixture
def page(browser: Browser, admin_key: str, faults: list[str]) -> Iterator[Page]:
    """A page whose clock a test can put forward."""
    context = browser.new_context(http_credentials={"username": "anybody", "password": admin_key})
    page = context.new_page()
    page.clock.install()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    yield page
    assert faults == []
    context.close()


@pytest.fixture
def client(url: str, admin_key: str) -> Iterator[Client]:
    with Client(url, api_key=admin_key) as client:
        yield client


def test_a_new_project_shows_its_base_model_live_and_what_is_missing_for_a_run(
    page: Page, url: str, client: Client
) -> None:
    client.projects.create(wire.NewProject(project="page-new", base_model="/models/none", suites=[]))

    page.goto(f"{url}/?project=page-new")

    assert "the base model" in page.locator("#live").inner_text()
    assert "Not enough for a run" in page.locator("#labels").inner_text()
    assert "none yet" in page.locator("#runs").inner_text()


def test_labels_appear_without_a_reload(page: Page, url: str, client: Client, admin_key: str) -> None:
    client.projects.create(wire.NewProject(project="page-live", base_model="/models/none", suites=[]))
    page.goto(f"{url}/?project=page-live")
    row = page.locator("#labels tr", has_text="for the next run").locator("td").nth(1)
    assert row.inner_text() == "0"

    with Client(url, api_key=admin_key, project="page-live") as backend:
        backend.feedback("c-1", "a-1", "up", prompt="Hello?", completion="Good day.")

    def appeared() -> bool:
        page.clock.fast_forward(REFRESH_MS)
        return row.inner_text() == "1"

    assert services.wait_until(appeared, 60)


def test_texts_of_users_are_shown_as_texts(page: Page, url: str, client: Client) -> None:
    client.projects.create(
        wire.NewProject(project="page-safe", base_model="/<script>throw new Error('run')</script>", suites=[])
    )

    page.goto(f"{url}/?project=page-safe")

    assert page.locator("#live").is_visible()


def test_the_page_asks_for_a_key(browser: Browser, url: str) -> None:
    context = browser.new_context()
    try:
        answer = context.request.get(f"{url}/")
        assert answer.status == 401
        assert "API key" in answer.headers["www-authenticate"]
    finally:
        context.close()


def test_the_page_says_when_the_server_does_not_answer_and_when_it_does_again(
    page: Page, url: str, client: Client, faults: list[str]
) -> None:
    client.projects.create(wire.NewProject(project="page-away", base_model="/models/none", suites=[]))
    page.goto(f"{url}/?project=page-away")
    warning = page.locator("#stale")
    assert warning.is_hidden()

    page.route("**/?project=page-away", lambda route: route.fulfill(status=503, body="away"))
    page.clock.fast_forward(REFRESH_MS)
    warning.wait_for(state="visible", timeout=20_000)
    text = warning.inner_text()
    page.unroute("**/?project=page-away")
    page.clock.fast_forward(REFRESH_MS)
    warning.wait_for(state="hidden", timeout=20_000)

    assert "answers with an error (503). This page is as of" in text
    faults[:] = [fault for fault in faults if "503" not in fault]


def test_a_refresh_leaves_a_selection_alone(page: Page, url: str, client: Client) -> None:
    client.projects.create(wire.NewProject(project="page-read", base_model="/models/none", suites=[]))
    page.goto(f"{url}/?project=page-read")
    page.locator("#labels h2").select_text()

    with page.expect_response("**/?project=page-read") as refreshed:
        page.clock.fast_forward(REFRESH_MS)
    refreshed.value.finished()

    assert page.evaluate("document.getSelection().toString().trim()") == "Labels"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_enough_contrast_and_a_phone_needs_no_sideways_scrolling(
    page: Page, url: str, client: Client, scheme: Literal["light", "dark"]
) -> None:
    client.projects.create(
        wire.NewProject(project=f"page-{scheme}", base_model="/models/" + "long-name-" * 12, suites=[])
    )
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{url}/?project=page-{scheme}")
    # Every CSS class of a text that the page of a project may have.
    page.evaluate(
        """() => {
          const names = "faint failed passed live training stale series-0 series-1 series-2 series-3";
          for (const name of names.split(" ")) {
            const text = document.createElement("span");
            text.className = name;
            text.textContent = name;
            document.querySelector("main").append(text, " ");
          }
        }"""
    )

    width = page.evaluate("document.documentElement.scrollWidth")
    contrasts = page.evaluate(CONTRASTS)

    assert width <= 390
    assert len(contrasts) > 20
    assert {text: ratio for text, ratio in contrasts if ratio < 4.5} == {}


#: Contrast of each text against the page, as WCAG 2.2 defines it.
CONTRASTS = """() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = channels(colour).map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const page = luminance(getComputedStyle(document.body).backgroundColor);
  return [...document.querySelectorAll("body *")]
    .filter((element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()))
    .map((element) => {
      const text = luminance(getComputedStyle(element).color);
      const ratio = (Math.max(text, page) + 0.05) / (Math.min(text, page) + 0.05);
      return [element.textContent.trim().slice(0, 40), ratio];
    });
}"""


def test_the_reference_of_the_api_is_shown_without_the_internet(page: Page, url: str) -> None:
    elsewhere: list[str] = []
    own = (url, "data:")
    page.on("request", lambda sent: None if sent.url.startswith(own) else elsewhere.append(sent.url))

    page.goto(f"{url}/docs")
    page.locator(".opblock").first.wait_for(timeout=20_000)

    assert page.locator("text=Record one event").count() == 1
    assert elsewhere == []
