"""The format of API keys, and the requests that their scopes allow."""

from datetime import UTC, datetime, timedelta

from app.access import keys

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def test_secrets_are_long_differ_and_carry_their_scheme():
    secrets = {keys.new_secret() for _ in range(100)}

    assert len(secrets) == 100
    assert all(secret.startswith("tw_") and len(secret) >= 43 for secret in secrets)


def test_a_prefix_finds_a_key_and_leaves_most_of_it_unknown():
    secret = keys.new_secret()

    assert secret.startswith(keys.prefix_of(secret))
    assert len(secret) - len(keys.prefix_of(secret)) >= 32


def test_the_hash_of_any_header_can_be_taken():
    assert keys.sha256_of("tw_x") != keys.sha256_of("tw_y")
    assert len(keys.sha256_of("tw_\udcff")) == 32


def test_a_key_is_open_until_the_very_moment_at_which_it_expires():
    def reason(at: datetime) -> str | None:
        return keys.reason_to_refuse(expires_at=NOON, revoked_at=None, at=at)

    assert reason(NOON - timedelta(seconds=1)) is None
    assert "expired" in (reason(NOON) or "")


def test_a_revoked_key_is_closed_whatever_its_expiry():
    reason = keys.reason_to_refuse(expires_at=NOON + timedelta(days=1), revoked_at=NOON, at=NOON)

    assert reason == "This key was revoked at 2026-11-01 12:00 UTC: ask an admin for a new one."


def test_admin_holds_every_scope_and_no_other_scope_holds_a_second_one():
    assert keys.allows(["admin"], "runs:write")
    assert keys.allows(["runs:write"], "runs:write")
    assert not keys.allows(["runs:write"], "runs:read")
    assert not keys.allows([], "runs:read")
