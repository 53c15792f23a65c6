"""The JavaScript client under Node: its own tests, and what they store in a real API."""

import os
import subprocess

from tests.client_js.conftest import PACKAGE

ORIGIN = "https://shop.example.com"


def test_the_packages_own_tests_pass_and_their_feedback_is_stored(node, url, client, server_key, browser_key):
    named = {"THUMBWHEEL_URL": url, "THUMBWHEEL_API_KEY": server_key, "BROWSER_KEY": browser_key(ORIGIN)}

    done = subprocess.run(
        [node, "--test", "--test-concurrency=4"],
        cwd=PACKAGE,
        env=os.environ | named | {"BROWSER_ORIGIN": ORIGIN},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stdout[-5000:]
    events = {event.event_id: event for event in client.events.list()}
    assert set(events) == {"vote", "vote-comment", "edit", "stars", "undo", "fact", "b1", "q1", "p1", "p2"}
    assert {event.completion_id for event in events.values()} == {"m/1", "m/2", "m/3"}
    assert events["vote-comment"].signal == {"kind": "comment", "text": "Friendly."}
    assert (events["undo"].signal, events["undo"].supersedes) == ({"kind": "retract"}, "vote")
    assert events["stars"].signal == {"kind": "rating", "value": 4, "minimum": 1, "maximum": 5}
    assert client.completions.get("m/1").completion == "Hello"
