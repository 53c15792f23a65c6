"""Settings for other processes, and their rules."""

import pytest
from pydantic import SecretStr, ValidationError

from app.settings import Settings


def test_the_environment_for_another_process_has_secrets_as_they_are_and_no_defaults() -> None:
    made = Settings(pseudonym_key=SecretStr("k" * 32), judge_url="http://j/v1", judge_model="m", port=1)

    environment = made.as_environment()

    assert environment.items() >= {
        ("THUMBWHEEL_PSEUDONYM_KEY", "k" * 32),
        ("THUMBWHEEL_JUDGE_URL", "http://j/v1"),
        ("THUMBWHEEL_JUDGE_MODEL", "m"),
        ("THUMBWHEEL_PORT", "1"),
    }
    assert "THUMBWHEEL_HOST" not in environment


def test_a_short_key_of_pseudonyms_is_refused_with_the_remedy_and_without_the_key() -> None:
    with pytest.raises(ValidationError, match="openssl rand -hex 32") as caught:
        Settings(pseudonym_key=SecretStr("secret"))
    assert "secret" not in str(caught.value)
