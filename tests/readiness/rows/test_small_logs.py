"""Readiness of a small log: a request computes it and stores nothing; the loop stores data for the next request."""

import random

import pytest
from sqlalchemy import text
from thumbwheel import wire

from app.database import transaction
from app.feedback import service as feedback
from app.labels.summaries import service as summaries
from app.loop import service as loop
from app.runs import service as runs
from tests.desk import DESK, make_project
from tests.logged import store

WORDS = ("parcel", "order", "shop", "invoice", "refund", "warehouse", "courier", "address", "morning", "colour")


@pytest.fixture(autouse=True)
def _project(database, monkeypatch):
    make_project()
    monkeypatch.setattr(summaries, "PART", 1e9)  # the loop reads the log in every round


def sentence(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=14))


def store_chats(numbers: range) -> None:
    """Stores chats with a short and two long turns, nearly equal questions, thumbs on all answers, and edits."""
    for number in numbers:
        rng = random.Random(number)
        chat = [{"role": "user", "content": "Hi"}]
        events = []
        for turn in range(3):
            answer = sentence(rng)
            about = {
                "completion_id": f"chat {number} turn {turn}",
                "actor": f"user {number}",
                "conversation_id": f"chat {number}",
                "prompt": list(chat),
                "completion": answer,
            }
            events.append({**about, "signal": {"kind": "thumbs", "value": ("up", "down")[number % 2]}})
            if number % 2:
                events.append({**about, "signal": {"kind": "edit", "text": f"{answer} {sentence(rng)}"}})
            chat += [{"role": "assistant", "content": answer}, {"role": "user", "content": sentence(rng)}]
        long_question = f"{' '.join(WORDS * 6)} {number}"
        thumb = {"kind": "thumbs", "value": "up"}
        events.append({"completion_id": f"long {number}", "actor": f"user {number}", "prompt": long_question,
                       "completion": sentence(rng), "signal": thumb})  # fmt: skip
        store(DESK, events)


def readiness(*, read_only: bool) -> wire.Readiness:
    with transaction(read_only=read_only) as session:
        found = runs.readiness(session, DESK)
    return found.model_copy(update={"unknown_checkpoints": None})  # the loop counts them


def stored() -> dict[str, int]:
    """Returns the number of rows in each table about prompts and edits."""
    tables = [
        "prompt_leaders",
        "led_prompts",
        "conversation_links",
        "conversation_joins",
        "conversation_strays",
        "edit_comparisons",
    ]
    with transaction() as session:
        return {table: session.scalar(text(f"SELECT count(*) FROM {table}")) for table in tables}


def test_a_request_finds_the_same_before_and_after_the_loop_has_stored_what_is_new():
    store_chats(range(40))
    loop.tick()
    store_chats(range(40, 80))

    before = readiness(read_only=True)
    loop.tick()
    after = readiness(read_only=True)

    assert before == after
    assert stored()["led_prompts"] > 0
    assert before.holdout is not None
    assert before.holdout.desirable > 0
    assert before.counts.desirable > 120


def test_only_the_loop_stores_the_groups_of_prompts_and_the_comparisons_of_edits():
    store_chats(range(10))

    readiness(read_only=False)
    assert set(stored().values()) == {0}

    loop.tick()
    assert min(stored().values()) > 0
    with transaction() as session:
        assert session.scalar(text("SELECT position FROM prompts_placed")) == feedback.watermark(session, DESK)


def test_the_loop_stores_groups_that_an_earlier_round_failed_to_store():
    store_chats(range(10))
    with transaction() as session:
        summaries.refresh(session, DESK)  # as in a round that was cut off after it

    loop.tick()

    assert stored()["led_prompts"] > 0
