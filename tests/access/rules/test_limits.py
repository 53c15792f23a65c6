"""Limits within a minute, and the origins of browser keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from thumbwheel import wire

from app.access.limits import WINDOW_MS, Limit, Usage, network_of
from app.access.origins import allows


@given(
    quota=st.integers(1, 1000),
    present=st.integers(0, 2000),
    before=st.integers(0, 2000),
    elapsed=st.integers(0, WINDOW_MS - 1),
)
def test_after_the_time_to_wait_an_event_is_taken_and_a_second_earlier_none(quota, present, before, elapsed):
    usage = Usage(Limit("actor", "a", quota), present, before, elapsed)

    def later(seconds: float) -> Usage:
        time = elapsed + round(seconds * 1000)
        windows, rest = divmod(time, WINDOW_MS)
        counts = [(present, before), (0, present), (0, 0)][min(windows, 2)]
        return Usage(usage.limit, *counts, rest)

    assert (usage.seconds_to_wait == 0) == (usage.used < quota) == (usage.remaining > 0)
    assert not later(usage.seconds_to_wait).exhausted
    if usage.seconds_to_wait > 1:
        assert later(usage.seconds_to_wait - 1.001).exhausted


def test_a_client_of_ipv6_counts_as_its_network():
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") == "2001:db8::/64"
    assert network_of("::ffff:192.0.2.7") == "192.0.2.7"


def test_a_pattern_covers_subdomains_of_its_scheme_and_port_alone():
    patterns = ["https://app.example.com", "https://*.example.org", "http://localhost:3000"]

    assert all(allows(patterns, origin) for origin in ["https://app.example.com", "https://a.b.example.org"])
    for origin in [
        "", "null", "https://example.org", "http://a.example.org", "https://a.example.org:8443", "https://*.example.org",
        "https://evilexample.org", "https://example.org.evil.com", "https://app.example.com.evil.com", "http://localhost",
    ]:  # fmt: skip
        assert allows(patterns, origin) == (origin == "https://*.example.org"), origin


def test_origins_are_kept_as_browsers_send_them_and_other_texts_are_refused():
    def browser_key(origin: str) -> wire.NewKey:
        return wire.NewKey(name="page", scopes=["feedback:write"], project="acme", origins=[origin])

    assert browser_key("HTTPS://App.Example.com:443/").origins == ["https://app.example.com"]
    assert browser_key("http://localhost:3000").origins == ["http://localhost:3000"]
    for text in ["*", "https://*", "https://*.com", "app.example.com", "https://a.example.com/path", "null"]:
        with pytest.raises(ValidationError):
            browser_key(text)
