"""Types, subscriptions, bodies, signatures and the schedule of attempts."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook
from thumbwheel import wire
from thumbwheel.wire.webhooks import WEBHOOKS

from app.webhooks.bodies import MOST_CHARACTERS, body
from app.webhooks.schedule import GIVEN_UP_AFTER, LONGEST_REST, OFFSETS, next_attempt, rest
from app.webhooks.signing import headers, new_secret
from app.webhooks.subscriptions import TEST, types_of
from tests.conftest import ROOT

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
RELEASE = {
    "type": "release.shipped",
    "timestamp": "2026-01-01T00:00:00Z",
    "data": {
        "project": "acme", "url": "https://x.example/v1/releases?project=acme", "number": 2,
        "checkpoint_id": "01a1ffdd-2cf3-74f2-b118-97a137527784", "verdict": "refused", "reason": "<b> & co",
        "override_reason": "a trial", "override_scope": ["auroc"], "share": None, "by": "key ops",
    },
}  # fmt: skip


def test_the_patterns_of_a_subscription_are_the_types_and_their_groups():
    types = set(WEBHOOKS) - {TEST}

    assert set(get_args(wire.WebhookPattern)) == {"*"} | types | {f"{name.partition('.')[0]}.*" for name in types}


def test_a_pattern_covers_a_type_a_group_or_everything_but_tests():
    assert types_of(["gate.passed", "release.*"]) == {
        "gate.passed", "release.shipped", "release.rolled_back", "release.started_over",
        "release.canary", "release.canary_ended",
    }  # fmt: skip
    assert types_of(["*"]) == set(WEBHOOKS) - {TEST}


def test_a_payload_is_read_into_the_model_of_its_type():
    assert wire.webhook_of(RELEASE).data.override_scope == ["auroc"]


def test_no_payload_has_a_field_for_texts_or_ids_of_users():
    named = {name for model in WEBHOOKS.values() for name in model.model_fields["data"].annotation.model_fields}

    assert named.isdisjoint({"actor", "actor_sha256", "event_id", "completion_id", "prompt", "completion", "said"})


def test_the_reference_library_verifies_a_body_with_either_secret():
    old, new = new_secret(), new_secret()
    content = body(RELEASE, "standard")
    signed = headers("01a1ffdd", datetime.now(UTC), content, (new, old))

    for secret in (old, new):
        assert Webhook(secret).verify(content, dict(signed)) == RELEASE
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(new_secret()).verify(content, dict(signed))


def test_a_message_for_slack_has_text_and_blocks_with_its_characters_escaped():
    message = json.loads(body(RELEASE, "slack"))

    assert message["text"] == "acme: release.shipped"
    section, context = message["blocks"]
    assert section["text"]["text"] == "*acme: release.shipped*\n&lt;b&gt; &amp; co\noverride: a trial"
    assert context["elements"][0]["text"].startswith("<https://x.example/v1/releases?project=acme|checkpoint 01a1ffdd")


def test_a_message_for_slack_is_not_longer_than_slack_takes():
    long = {**RELEASE, "data": {**RELEASE["data"], "reason": "x" * 9000}}

    assert len(json.loads(body(long, "slack"))["blocks"][0]["text"]["text"]) == MOST_CHARACTERS


@given(st.lists(st.floats(0, 1), min_size=len(OFFSETS), max_size=len(OFFSETS)))
def test_attempts_follow_the_table_of_the_standard_and_end_after_24_hours(chances):
    now, attempts = BEGAN, []
    for chance in chances:
        now = next_attempt(BEGAN, now, chance)
        assert now is not None
        attempts.append(now - BEGAN)

    assert next_attempt(BEGAN, now, 0.5) is None
    assert attempts == sorted(attempts)
    before = timedelta(0)
    for at, offset in zip(attempts, OFFSETS, strict=True):
        assert offset - 0.1 * (offset - before) <= at <= offset
        before = offset
    assert OFFSETS[0] == timedelta(seconds=5)
    assert OFFSETS[-1] == GIVEN_UP_AFTER


def test_times_that_have_passed_are_skipped():
    assert next_attempt(BEGAN, BEGAN + timedelta(hours=3), 1) == BEGAN + timedelta(hours=7, minutes=35, seconds=5)
    assert next_attempt(BEGAN, BEGAN + timedelta(hours=25), 0) is None


def test_an_endpoint_that_fails_rests_for_up_to_five_minutes():
    assert [rest(failures).total_seconds() for failures in (1, 2, 3)] == [2, 4, 8]
    assert rest(1000) == LONGEST_REST
    assert rest(1, retry_after=60) == timedelta(minutes=1)
    assert rest(1, retry_after=999_999_999) == timedelta(hours=1)


def test_the_guide_lists_every_type():
    guide = (ROOT / "docs" / "webhooks.md").read_text()

    listed = set(re.findall(r"`([a-z]+\.[a-z_]+)`", guide.partition("## Types")[2].partition("## Attempts")[0]))
    assert listed == set(WEBHOOKS)
