"""Reads of an unstored prompt return the group and the side that it gets when it is stored."""

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from app.database import transaction
from app.errors import Unavailable
from app.feedback import service as feedback
from app.projects.tables import Project
from app.snapshots.prompts import conversations
from app.snapshots.prompts import service as prompts
from app.snapshots.prompts import store as prompt_store
from app.snapshots.prompts.split import group_of, key_of
from tests.bare_project import CONFIGURATION
from tests.logged import register, store

P = "chats"
WORDS = ("parcel", "order", "shop", "invoice", "refund", "warehouse", "courier", "address", "morning", "colour")
GREETING = [{"role": "user", "content": "Hi"}]


@pytest.fixture(autouse=True)
def _project(database, monkeypatch):
    with transaction() as session:
        session.add(Project(id=P, base_model="/models/base", configuration=CONFIGURATION))
    monkeypatch.setattr(conversations, "MOST_JOINS", 4)


def turns_of(number: int) -> list[dict[str, Any]]:
    """Returns the thumbs of a chat: a short greeting, then longer turns. Some chats have an id or a shared phrase."""
    rng = random.Random(number)
    messages = list(GREETING)
    events = []
    for turn in range(4):
        answer = (
            " ".join(rng.choices(WORDS, k=14)) if turn or number % 3 else "Hello! Which parcel is it about, please?"
        )
        event = {
            "completion_id": f"chat {number} turn {turn}",
            "actor": f"user {number}",
            "prompt": list(messages),
            "completion": answer,
            "signal": {"kind": "thumbs", "value": "up"},
        }
        events.append(event | ({"conversation_id": f"chat {number}"} if number % 2 else {}))
        question = " ".join(rng.choices(WORDS, k=14)) if turn or number % 3 else "Where is it? It was sent a week ago."
        messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": question}]
    return events


def nearly_equal(number: int) -> dict[str, Any]:
    """Returns a thumb on an answer to a long question. The questions differ only in the number at their end."""
    return {
        "completion_id": f"long {number}",
        "actor": f"user {number}",
        "prompt": " ".join(WORDS * 6) + f" {number}",
        "completion": "Yes.",
        "signal": {"kind": "thumbs", "value": "down"},
    }


def store_log(seed: int) -> tuple[list[int], list[bytes]]:
    """Stores a log in four parts. Returns the watermark after each part, and the keys of all prompts."""
    rng = random.Random(seed)
    chats = [turns_of(number) for number in range(16)]
    events = [events[turn] for turn in range(4) for events in rng.sample(chats, len(chats))]
    if seed % 2:
        rng.shuffle(events)
    events += [nearly_equal(number) for number in range(12)]
    watermarks = []
    for part in range(4):
        store(P, events[part::4] if seed % 2 else events[part * 19 : part * 19 + 19])
        register(P, f"registered {part}", {"prompt": turns_of(part)[3]["prompt"], "completion": "It is on its way."})
        watermarks.append(end())
    return watermarks, sorted({key_of(group_of(event["prompt"])) for event in events})


def end() -> int:
    with transaction() as session:
        return feedback.watermark(session, P)


def place(watermark: int) -> int:
    with transaction() as session:
        return prompts.place(session, P, watermark)


def position() -> int:
    with transaction() as session:
        return session.scalar(text("SELECT position FROM prompts_placed"))


def read(watermark: int, keys: list[bytes]) -> dict[str, Any]:
    """Reads the groups of these prompts, and the joins, strays and sides up to the watermark; storing is refused."""
    with transaction(read_only=True) as session:
        placed = prompts.placed_up_to(session, P, watermark)
    leaders = placed.leaders_of(np.frombuffer(b"".join(keys), np.uint64).reshape(-1, 2))
    joins, strays, now = placed.sides.joins, placed.sides.strays, placed.sides.now
    rows = zip(*(column.tolist() for column in (strays.row, strays.prompt, strays.other)), strict=True)
    columns = {
        "leaders": [leaders],
        "joins": [joins.leader, joins.other, joins.position, joins.earlier],
        "sides": [now.key, now.by, now.since],
    }
    return {"strays": sorted(rows)} | {name: [each.tolist() for each in those] for name, those in columns.items()}


@pytest.mark.parametrize("at_once", [5, 1000])
@pytest.mark.parametrize("seed", [0, 1])
def test_prompts_are_read_as_they_will_be_stored(monkeypatch, seed, at_once):
    watermarks, keys = store_log(seed)
    monkeypatch.setattr(prompts, "AT_ONCE", at_once)

    readings = [read(watermarks[-1], keys)]
    for watermark in watermarks:
        place(watermark)
        readings.append(read(watermarks[-1], keys))

    stored = readings.pop()
    assert all(reading == stored for reading in readings)
    assert len(keys) - len({tuple(leader) for leader in stored["leaders"][0]}) > 10
    assert len(stored["joins"][0]) > 10
    assert len(stored["strays"]) > 10


def test_prompts_up_to_an_earlier_watermark_have_the_same_sides_whether_or_not_later_ones_are_stored():
    watermarks, _ = store_log(0)

    unstored = [read(watermark, []) for watermark in watermarks]
    place(watermarks[-1])

    assert [read(watermark, []) for watermark in watermarks] == unstored


def test_a_reading_during_which_the_prompts_are_stored_has_each_of_them_once(monkeypatch):
    watermarks, keys = store_log(0)
    place(watermarks[0])
    expected = read(watermarks[-1], keys)
    read_led = prompt_store.led

    def store_and_read_led(session, project):
        place(watermarks[2])
        return read_led(session, project)

    monkeypatch.setattr(prompt_store, "led", store_and_read_led)

    assert read(watermarks[-1], keys) == expected
    assert position() == watermarks[2]


def test_a_reading_that_is_overtaken_time_and_again_ends_with_the_request_to_try_later(monkeypatch):
    watermarks, keys = store_log(0)
    read_led = prompt_store.led

    def store_and_read_led(session, project):
        place(position() + 1)
        return read_led(session, project)

    place(1)
    monkeypatch.setattr(prompt_store, "led", store_and_read_led)

    with pytest.raises(Unavailable, match="Try again"):
        read(watermarks[-1], keys)


def waiting_for_locks() -> int:
    with transaction() as session:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return session.scalar(text(query))


def test_prompts_that_were_stored_while_another_transaction_waited_are_not_placed_again():
    watermarks, _ = store_log(0)
    with ThreadPoolExecutor(1) as pool:
        with transaction() as session:
            prompts.place(session, P, watermarks[-1])
            late = pool.submit(place, watermarks[0])
            while not waiting_for_locks():
                assert not late.done()

        assert late.result(timeout=60) == 0

    assert position() == watermarks[-1]
