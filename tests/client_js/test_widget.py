"""`<thumbwheel-thumbs>` in a real browser, on pages of another origin with a strict content security policy."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from thumbwheel import Client, wire

from app.feedback.ingest import cors
from app.services import wait_until

pytestmark = pytest.mark.pages

SCRIPT = '<script type="module" src="/thumbwheel/widget.js"></script>'

#: Lets the widget send with a client of other settings.
IMPATIENT = """
async ([url, key, settings]) => {
  const {Thumbwheel} = await import("/thumbwheel/client.js");
  document.querySelector("thumbwheel-thumbs").client = new Thumbwheel({url, key, ...settings});
}
"""


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page that fails its test if it writes an error to the console, as for a breach of the policy."""
    context = browser.new_context()
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if "Security Policy" in line.text else None)
    yield page
    context.close()
    assert not faults


@pytest.fixture
def open_widget(url: str, site, page: Page, browser_key: Callable[..., str]) -> Callable[..., str]:
    """A function that opens a page with a widget, and returns its key: `open_widget("comment", actor_per_minute=2)`."""

    def open_page(attributes: str = "", head: str = SCRIPT, **limits: int) -> str:
        key = browser_key(site.origin, **limits)
        named = f'url="{url}" browser-key="{key}" completion-id="m1" actor="u1"'
        page.goto(site.page(f"{head}<main><thumbwheel-thumbs {named} {attributes}></thumbwheel-thumbs></main>"))
        return key

    return open_page


def stored(client: Client) -> list[wire.StoredEvent]:
    """Returns the events in the order of the log."""
    return sorted(client.events.list(), key=lambda event: event.position)


def thumb(page: Page, name: str):
    return page.get_by_role("group", name="Rate this answer").get_by_role("button", name=name)


def test_a_press_is_stored_the_other_thumb_replaces_it_and_a_second_press_takes_it_back(client, page, open_widget):
    open_widget()
    good, bad, status = thumb(page, "Good answer"), thumb(page, "Bad answer"), page.get_by_role("status")
    expect(good).to_have_attribute("aria-pressed", "false")

    good.click()
    expect(status).to_have_text("Thank you.")
    expect(good).to_have_attribute("aria-pressed", "true")
    bad.click()
    expect(good).to_have_attribute("aria-pressed", "false")
    expect(bad).to_have_attribute("aria-pressed", "true")
    expect(bad).to_have_attribute("aria-disabled", "false")
    bad.click()
    expect(status).to_have_text("Your vote was removed.")
    expect(bad).to_have_attribute("aria-pressed", "false")

    up, down, undone = stored(client)
    assert (up.completion_id, up.actor, up.signal, up.supersedes) == (
        "m1", "u1", {"kind": "thumbs", "value": "up"}, None,
    )  # fmt: skip
    assert (down.signal, down.supersedes) == ({"kind": "thumbs", "value": "down"}, up.event_id)
    assert (undone.signal, undone.supersedes) == ({"kind": "retract"}, down.event_id)


def test_a_double_click_is_one_press(client, page, open_widget):
    open_widget()
    good = thumb(page, "Good answer")

    good.click()
    expect(page.get_by_role("status")).to_have_text("Thank you.")
    good.dispatch_event("click", {"detail": 2})  # the second click of a double click, however fast the API is

    expect(good).to_have_attribute("aria-pressed", "true")
    assert [event.signal for event in stored(client)] == [{"kind": "thumbs", "value": "up"}]


def test_a_thumb_down_asks_for_a_comment_which_is_taken_back_with_it(client, page, open_widget):
    open_widget("comment")
    box = page.get_by_role("textbox", name="What was wrong?")
    thumb(page, "Good answer").click()
    expect(page.get_by_role("status")).to_have_text("Thank you.")
    expect(box).to_be_hidden()

    thumb(page, "Bad answer").click()
    box.fill("That is not my parcel.")
    page.get_by_role("button", name="Send").click()
    expect(box).to_be_hidden()
    expect(thumb(page, "Bad answer")).to_be_focused()
    thumb(page, "Bad answer").click()
    expect(page.get_by_role("status")).to_have_text("Your vote was removed.")

    _, down, comment, *undone = stored(client)
    assert comment.signal == {"kind": "comment", "text": "That is not my parcel."}
    assert [event.supersedes for event in undone] == [down.event_id, comment.event_id]


def test_a_limit_is_said_and_the_vote_shown_is_the_stored_one(client, page, open_widget):
    key = open_widget(actor_per_minute=1)
    page.evaluate(IMPATIENT, [client.url, key, {"retryTime": 0}])
    page.evaluate("addEventListener('thumbwheel-error', ({detail}) => window.failed = detail.error.code)")

    for name in ("Good answer", "Bad answer", "Good answer"):  # a minute may end after the first one
        thumb(page, name).click()
        expect(page.get_by_role("status")).not_to_be_empty()
        if page.evaluate("window.failed"):
            break

    expect(page.get_by_role("status")).to_have_text("Too many votes. Try again later.")
    assert page.evaluate("window.failed") == "rate_limited"
    shown = {"up": "Good answer", "down": "Bad answer"}[stored(client)[-1].signal["value"]]
    expect(thumb(page, shown)).to_have_attribute("aria-pressed", "true")


def test_while_the_api_is_away_an_error_is_said_and_another_press_sends_the_same_event(client, page, open_widget):
    key = open_widget()
    page.evaluate(IMPATIENT, [client.url, key, {"tries": 2}])
    ids: list[str] = []

    def refuse(route):
        ids.append(route.request.post_data_json["event_id"])
        route.abort()

    page.route("**/v1/feedback", refuse)
    thumb(page, "Good answer").click()
    expect(thumb(page, "Good answer")).to_have_attribute("aria-disabled", "true")
    expect(page.get_by_role("group")).to_have_attribute("aria-busy", "true")
    expect(page.get_by_role("status")).to_have_text("Not sent. Try again.")
    expect(thumb(page, "Good answer")).to_have_attribute("aria-pressed", "false")
    page.unroute("**/v1/feedback")
    thumb(page, "Good answer").click()
    expect(page.get_by_role("status")).to_have_text("Thank you.")

    assert len(ids) == 2
    assert {event.event_id for event in stored(client)} == set(ids)


def test_an_earlier_vote_is_shown_and_taken_back_by_its_id_or_wholly(client, page, open_widget):
    earlier = client.feedback("m1", "u1", "down")
    open_widget(f'value="down" event-id="{earlier.event_id}"')

    expect(thumb(page, "Bad answer")).to_have_attribute("aria-pressed", "true")
    thumb(page, "Bad answer").click()
    expect(page.get_by_role("status")).to_have_text("Your vote was removed.")
    page.evaluate("document.querySelector('thumbwheel-thumbs').setAttribute('completion-id', 'm2')")
    page.evaluate("document.querySelector('thumbwheel-thumbs').removeAttribute('event-id')")
    expect(page.get_by_role("status")).to_be_empty()
    expect(thumb(page, "Bad answer")).to_have_attribute("aria-pressed", "true")
    thumb(page, "Bad answer").click()
    expect(page.get_by_role("status")).to_have_text("Your vote was removed.")

    _, first, second = stored(client)
    assert (first.completion_id, first.supersedes) == ("m1", earlier.event_id)
    assert (second.completion_id, second.supersedes) == ("m2", None)


def test_an_element_that_gets_another_completion_while_it_sends_keeps_the_votes_apart(client, page, open_widget):
    open_widget("comment")
    page.evaluate(
        """() => {
          const element = document.querySelector("thumbwheel-thumbs");
          element.client = {feedback: () => new Promise((answer) => window.answer = answer)};
        }"""
    )

    thumb(page, "Bad answer").click()
    expect(thumb(page, "Bad answer")).to_have_attribute("aria-pressed", "true")
    page.evaluate("document.querySelector('thumbwheel-thumbs').setAttribute('completion-id', 'm2')")
    expect(thumb(page, "Bad answer")).to_have_attribute("aria-pressed", "false")
    page.evaluate("window.answer({})")

    expect(thumb(page, "Bad answer")).to_have_attribute("aria-disabled", "false")
    expect(thumb(page, "Bad answer")).to_have_attribute("aria-pressed", "false")
    expect(page.get_by_role("status")).to_be_empty()
    expect(page.get_by_role("textbox")).to_be_hidden()
    page.evaluate("document.querySelector('thumbwheel-thumbs').setAttribute('completion-id', 'm1')")
    expect(thumb(page, "Bad answer")).to_have_attribute("aria-pressed", "true")


def test_it_is_used_by_keyboard_in_other_words_and_seen_in_forced_colours(client, page, open_widget):
    open_widget('label="Hilfreich?" label-up="Gut" text-thanks="Danke."')
    page.emulate_media(forced_colors="active", reduced_motion="reduce")
    good = page.get_by_role("group", name="Hilfreich?").get_by_role("button", name="Gut")

    page.keyboard.press("Tab")
    expect(good).to_be_focused()
    style = good.evaluate("button => (({outlineStyle, transitionDuration}) => [outlineStyle, transitionDuration])"
                          "(getComputedStyle(button))")  # fmt: skip
    assert style == ["solid", "0s"]
    before = good.evaluate("button => getComputedStyle(button).backgroundColor")
    page.keyboard.press("Space")
    expect(page.get_by_role("status")).to_have_text("Danke.")
    assert good.evaluate("button => getComputedStyle(button).backgroundColor") != before
    assert len(stored(client)) == 1


def test_it_works_when_its_script_comes_late_and_when_a_script_makes_it(client, page, open_widget):
    key = open_widget(head="")
    page.evaluate(
        """() => {
          const sent = window.sent = [];
          const given = {value: "down", client: {feedback: async (...all) => sent.push(all)}};
          Object.assign(document.querySelector("thumbwheel-thumbs"), given);
          addEventListener("thumbwheel-sent", ({detail, target}) => sent.push([detail.value, target.value]));
        }"""
    )
    page.evaluate("() => import('/thumbwheel/widget.js')")
    expect(thumb(page, "Bad answer")).to_have_attribute("aria-pressed", "true")
    thumb(page, "Good answer").click()
    expect(page.get_by_role("status")).to_have_text("Thank you.")
    [[completion_id, signal, fields], told] = page.evaluate("window.sent")
    assert (completion_id, signal, fields["actor"]) == ("m1", {"kind": "thumbs", "value": "up"}, "u1")
    assert told == ["up", "up"]

    page.evaluate(
        """([url, key]) => {
          const made = document.createElement("thumbwheel-thumbs");
          const named = {url, "browser-key": key, "completion-id": "m2", actor: "u1", label: "Made"};
          for (const name in named) made.setAttribute(name, named[name]);
          document.querySelector("main").replaceChildren(made);
        }""",
        [client.url, key],
    )
    page.get_by_role("group", name="Made").get_by_role("button", name="Bad answer").click()
    expect(page.get_by_role("status")).to_have_text("Thank you.")
    assert [event.completion_id for event in stored(client)] == ["m2"]


def test_a_vote_and_a_queue_outlive_their_page_however_slow_the_line_is(client, page, open_widget, monkeypatch):
    async def slowly(origin, send):
        await asyncio.sleep(0.5)
        await answer(origin, send)

    answer = cors.answer_preflight
    monkeypatch.setattr(cors, "answer_preflight", slowly)
    key = open_widget()
    page.evaluate(
        """async ([url, key]) => {
          const {Thumbwheel} = await import("/thumbwheel/client.js");
          const thumbwheel = new Thumbwheel({url, key});
          document.querySelector("thumbwheel-thumbs").shadowRoot.querySelector("button").click();
          for (const event_id of ["q1", "q2", "q3"]) {
            thumbwheel.enqueue({event_id, completion_id: "m2", actor: "u1", signal: {kind: "copy"}});
          }
        }""",
        [client.url, key],
    )
    page.close()
    assert stored(client) == []

    assert wait_until(lambda: len(stored(client)) == 4, 10)
    assert len({event.event_id for event in stored(client)} & {"q1", "q2", "q3"}) == 3
