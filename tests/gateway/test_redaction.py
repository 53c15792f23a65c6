"""Completions of the gateway are masked before they are registered; callers see them as they were written."""

from collections.abc import Iterator
from typing import Any

import pytest
from thumbwheel import wire

from app import settings
from app.database import transaction
from app.project_setup import service as project_setup
from tests.desk import DESK

MAIL = "ann.lee@example.com"
WORDS = ("Write ", "to ", MAIL, ".")
ASKED = {"messages": [{"role": "user", "content": f"I am {MAIL}"}], "metadata": {"from": MAIL}}


@pytest.fixture(autouse=True)
def pseudonym_key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("THUMBWHEEL_PSEUDONYM_KEY", "k" * 40)
    settings.current.cache_clear()
    yield
    monkeypatch.undo()
    settings.current.cache_clear()


def redact(mode: wire.RedactionMode) -> None:
    with transaction() as session:
        rules = wire.RedactionRules(mode=mode, kinds=["email"])
        project_setup.change(session, DESK, wire.ProjectChange(redaction=rules), "a test")


def test_a_masked_answer_is_registered_without_the_tokens_that_spell_it(serve: Any) -> None:
    served = serve("gpu", words=WORDS)
    assert served.registered(served.post(**ASKED).json()["id"]).token_ids is not None
    redact("mask")

    answer = served.post(**ASKED).json()

    assert answer["choices"][0]["message"]["content"] == f"Write to {MAIL}."
    stored = served.registered(answer["id"])
    assert MAIL not in stored.model_dump_json()
    assert "[EMAIL_" in str(stored.completion)
    assert (stored.token_ids, stored.log_probs) == (None, None)


def test_an_answer_with_refused_data_flows_and_is_counted(serve: Any) -> None:
    redact("reject")
    served = serve("gpu", words=WORDS)

    assert MAIL in served.post(**ASKED).text
    assert served.unregistered() == {"personal_data": 1}
