"""A conversation is on one side of the split in every snapshot, and the card lists moved prompts."""

import gzip
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from uuid import UUID

import pyarrow.parquet as pq
import pytest
from sqlalchemy import text
from thumbwheel import wire

from app.database import transaction
from app.feedback import importing
from app.feedback import service as feedback
from app.projects.tables import Project
from app.snapshots import service as snapshots
from app.snapshots.prompts import service as prompts
from app.snapshots.prompts.split import group_of, key_of, split_of
from tests.bare_project import CONFIGURATION
from tests.logged import register, store

P = "chats"
RULES = wire.SnapshotRules(minimum_per_class=5, allow_imbalance=True, holdout_share=0.2)
CONVERSATIONS, TURNS = 200, 6
WORDS = Path(__file__).read_text().split()


@pytest.fixture(autouse=True)
def _project(database):
    with transaction() as session:
        session.add(Project(id=P, base_model="/models/base", configuration=CONFIGURATION))


def build(folder: Path, watermark: int | None = None, rules: wire.SnapshotRules = RULES) -> snapshots.Built:
    with transaction() as session:
        end = feedback.watermark(session, P) if watermark is None else watermark
        return snapshots.build(
            session, P, rules, "kto", watermark=end, seed=1, shipped_checkpoint_id=UUID(int=1), folder=folder
        )


def sides(folder: Path) -> dict[str, set[str]]:
    """Returns the sides of the split that contain each completion, read from the files alone."""
    sides_of = defaultdict(set)
    for path in [*folder.glob("train-*.parquet"), *folder.glob("holdout-*.parquet")]:
        for completion_id in pq.read_table(path, columns=["completion_id"])["completion_id"].to_pylist():
            sides_of[completion_id].add(path.name.split("-")[0])
    return sides_of


def on_both_sides(folder: Path, conversation_of: Mapping[str, str]) -> list[str]:
    """Returns the conversations with rows on both sides, by the ids that the test passes."""
    sides_of = defaultdict(set)
    for completion_id, there in sides(folder).items():
        sides_of[conversation_of[completion_id]] |= there
    return sorted(name for name, there in sides_of.items() if len(there) > 1)


def words(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=12))


def chat(number: int, turns: int = TURNS) -> list[dict]:
    """Returns the events of a conversation: a thumb on each of its answers."""
    rng = random.Random(number)
    said: list[dict] = [{"role": "system", "content": "You work at the desk of a shop and answer in two sentences."}]
    events = []
    for turn in range(turns):
        said.append({"role": "user", "content": words(rng)})
        answer = words(rng)
        events.append(
            {
                "completion_id": f"chat {number:03} turn {turn}",
                "actor": f"user {number}",
                "prompt": list(said),
                "completion": answer,
                "signal": {"kind": "thumbs", "value": rng.choice(["up", "down"])},
            }
        )
        said.append({"role": "assistant", "content": answer})
    return events


def chat_of(completion_id: str) -> str:
    return completion_id.partition(" turn ")[0]


class ByName(dict):
    def __missing__(self, completion_id: str) -> str:
        return chat_of(completion_id)


@pytest.mark.parametrize("order", ["as they happened", "the last turn first", "at random"])
def test_no_conversation_of_a_chat_product_is_on_both_sides(tmp_path, order):
    events = [event for number in range(CONVERSATIONS) for event in chat(number)]
    if order == "the last turn first":
        events.reverse()
    if order == "at random":
        random.Random(5).shuffle(events)
    store(P, events)

    built = build(tmp_path / "snapshot")

    assert on_both_sides(tmp_path / "snapshot", ByName()) == []
    there = Counter(side for held in sides(tmp_path / "snapshot").values() for side in held)
    assert 0.1 < there["holdout"] / there.total() < 0.3
    assert there.total() == CONVERSATIONS * TURNS
    assert built.manifest["leakage"]["conversations_on_both_sides"] == 0
    assert built.manifest["conversations"] == {
        "several_groups": CONVERSATIONS, "rows": CONVERSATIONS * TURNS, "largest_rows": TURNS,
        "moved": {"conversations": 0, "groups": 0, "rows": 0, "listed": []},
    }  # fmt: skip


def test_later_turns_are_on_the_side_of_the_turns_that_a_snapshot_had(tmp_path):
    rng = random.Random(3)
    chats = [chat(number) for number in range(80)]
    for events in chats:
        rng.shuffle(events)
    store(P, [event for events in chats for event in events[:3]])
    build(tmp_path / "first")
    before = sides(tmp_path / "first")

    store(P, [event for events in chats for event in events[3:]])
    built = build(tmp_path / "second")

    after = sides(tmp_path / "second")
    assert {one: after[one] for one in before} == before
    assert on_both_sides(tmp_path / "second", ByName()) == []
    assert built.manifest["conversations"]["moved"]["groups"] == 0


def test_a_conversation_id_joins_what_shares_no_words_also_where_it_comes_later(tmp_path):
    def turn(number: int, part: str, **more) -> dict:
        rng = random.Random(f"{number} {part}")
        said = {"prompt": words(rng), "completion": words(rng)}
        value = "up" if number % 2 else "down"
        thumb = {"completion_id": f"chat {number:03} turn {part}", "actor": f"user {number}"}
        return {**thumb, **said, "signal": {"kind": "thumbs", "value": value}, **more}

    chats = range(24)
    store(P, [turn(number, part, conversation_id=f"c{number}") for number in chats for part in "ab"])
    for number in chats:
        late = turn(number, "c")
        register(P, late["completion_id"], {name: late.pop(name) for name in ("prompt", "completion")})
        store(P, [{**late, "conversation_id": f"c{number}"}])
        registered = turn(number, "d")
        text_of = {name: registered.pop(name) for name in ("prompt", "completion")}
        register(P, registered["completion_id"], {**text_of, "conversation_id": f"c{number}"})
        store(P, [registered])

    build(tmp_path / "snapshot", rules=RULES.model_copy(update={"minimum_per_class": 1}))

    assert len(sides(tmp_path / "snapshot")) == 4 * len(chats)
    assert on_both_sides(tmp_path / "snapshot", ByName()) == []


def forget_conversations() -> None:
    """Changes the database to that of a version without conversations: snapshots do not mention them, and prompts are
    placed but not joined."""
    with transaction() as session:
        session.execute(text("ALTER TABLE snapshots DISABLE TRIGGER refuse_update"))
        session.execute(text("UPDATE snapshots SET manifest = manifest - 'conversations'"))
        session.execute(text("ALTER TABLE snapshots ENABLE TRIGGER refuse_update"))
        session.execute(text("TRUNCATE conversation_links, conversation_joins, conversation_strays"))
        session.execute(text("UPDATE prompts_placed SET position = 0"))


def by_prompt(event: dict) -> str:
    return split_of(P, key_of(group_of(event["prompt"])), RULES.holdout_share)


def test_of_a_project_that_was_split_by_prompt_what_leaks_moves_into_training_and_is_listed(tmp_path):
    chats = [chat(number, 2) for number in range(60)]
    store(P, [event for events in chats for event in events])
    build(tmp_path / "by prompt")
    forget_conversations()
    was = {event["completion_id"]: by_prompt(event) for events in chats for event in events}
    whole = {chat_of(one) for one in was} - {
        chat_of(one) for one, side in was.items() if side != was[chat_of(one) + " turn 0"]
    }
    store(P, chat(999, 1))

    built = build(tmp_path / "by conversation")

    now = sides(tmp_path / "by conversation")
    assert on_both_sides(tmp_path / "by conversation", ByName()) == []
    for one, side in was.items():
        assert now[one] == ({side} if chat_of(one) in whole else {"train"})
    leaked = {one for one, side in was.items() if side == "holdout" and chat_of(one) not in whole}
    moved = built.manifest["conversations"]["moved"]
    assert leaked
    assert moved["rows"] == moved["groups"] == len(leaked)
    assert moved["conversations"] == len({chat_of(one) for one in leaked})
    assert {(entry["from"], entry["to"]) for entry in moved["listed"]} == {("holdout", "train")}
    card = (tmp_path / "by conversation" / "card.md").read_text()
    assert "### Changed sides" in card
    assert f"{len(leaked)} prompt groups of {moved['conversations']} conversations" in card

    store(P, chat(998, 1))
    again = build(tmp_path / "the next one")
    assert again.manifest["conversations"]["moved"]["groups"] == 0
    assert {one: sides(tmp_path / "the next one")[one] for one in now} == now


def test_a_prompt_that_bridges_two_conversations_of_a_snapshot_takes_what_was_held_out_into_training(tmp_path):
    bridges = []
    for number in range(40):
        events = chat(number, 5)
        for event in events:
            event["prompt"] = event["prompt"][-5:]  # the window moves, so first and last share nothing
        store(P, [events[0], events[4]])
        bridges.append([events[1], events[2], events[3]])
    build(tmp_path / "first")
    before = sides(tmp_path / "first")

    store(P, [event for events in bridges for event in events])
    built = build(tmp_path / "second")

    after = sides(tmp_path / "second")
    assert on_both_sides(tmp_path / "second", ByName()) == []
    assert not [one for one, side in before.items() if side == {"train"} and after[one] != {"train"}]
    moved = [one for one, side in before.items() if after[one] != side]
    assert moved
    assert built.manifest["conversations"]["moved"]["groups"] == len(moved)


def test_a_snapshot_is_the_same_however_often_and_late_its_prompts_were_placed(tmp_path, monkeypatch):
    events = [event for number in range(40) for event in chat(number)]
    random.Random(7).shuffle(events)
    store(P, events[:120])
    with transaction() as session:
        watermark = feedback.watermark(session, P)
    store(P, events[120:])
    monkeypatch.setattr(prompts, "AT_ONCE", 17)
    first = build(tmp_path / "first", watermark)

    with transaction() as session:
        for table in (
            "prompt_leaders",
            "led_prompts",
            "conversation_links",
            "conversation_joins",
            "conversation_strays",
            "prompts_placed",
        ):
            session.execute(text(f"DELETE FROM {table}"))
    monkeypatch.setattr(prompts, "AT_ONCE", 1000)
    with transaction() as session:
        prompts.place(session, P, feedback.watermark(session, P))
    again = build(tmp_path / "again", watermark)

    assert first.files == again.files


def imported(path: Path, conversation_of: Callable[[dict], str], lines: int) -> tuple[list[wire.Event], dict[str, str]]:
    """Returns the events of a file's first lines, and the conversation of each completion according to the file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in islice(file, lines)]
    events, conversations = [], {}
    for item in importing.read(path):
        if item.line > lines:
            break
        if isinstance(item, importing.Imported):
            events.append(item.event)
            conversations[item.event.completion_id] = conversation_of(rows[item.line - 1])
    return events, conversations


def talk_of(row: dict) -> str:
    """Returns the id of the talk, which the id of the line contains before the turn."""
    return row["id"].rpartition("-")[0]


def test_no_conversation_of_real_talks_is_on_both_sides_where_their_ids_are_sent(shared_data, tmp_path):
    events, talks = imported(shared_data / "events" / "topical_chat_ratings.jsonl.gz", talk_of, 3000)
    store(P, [event.model_copy(update={"conversation_id": talks[event.completion_id]}) for event in events])

    build(tmp_path / "snapshot")

    assert on_both_sides(tmp_path / "snapshot", talks) == []


def test_no_conversation_of_real_talks_is_on_both_sides_where_they_are_derived(shared_data, tmp_path):
    """The log has only the latest five messages of these talks, in turns by both partners."""
    events, talks = imported(shared_data / "events" / "topical_chat_ratings.jsonl.gz", talk_of, 3000)
    store(P, events)

    build(tmp_path / "snapshot")

    assert on_both_sides(tmp_path / "snapshot", talks) == []


def test_no_chat_of_real_programmers_is_on_both_sides(shared_data, tmp_path):
    """The test assigns lines to chats by comparing all of them: a later prompt begins with an earlier one."""
    with gzip.open(shared_data / "events" / "realhumaneval_chat.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = list(map(json.loads, file))
    store(
        P,
        [
            {
                "completion_id": row["id"],
                "actor": row["user_id"],
                "prompt": row["prompt"],
                "completion": row["completion"],
                "signal": {"kind": "thumbs", "value": "up" if row["label"] else "down"},
            }
            for row in rows
            if row["completion"].strip()
        ],
    )

    built = build(tmp_path / "snapshot")

    where = {one: next(iter(side)) for one, side in sides(tmp_path / "snapshot").items()}
    said = {row["id"]: [message["content"] for message in row["prompt"]] for row in rows if row["id"] in where}
    leaks = [
        (one, other)
        for one, short in said.items()
        for other, long in said.items()
        if where[one] == "holdout" and where[other] == "train"
        and (long[: len(short)] == short or short[: len(long)] == long)
        and (len(short) > 1 < len(long) or all(len(" ".join(text[0].split())) >= 24 for text in (short, long)))
    ]  # fmt: skip
    assert Counter(where.values())["holdout"] > 100
    assert leaks == []
    assert built.manifest["leakage"]["contained"]["contained"] <= 0.02 * len(said)
