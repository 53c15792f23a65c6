"""A realistic log: a few actors and prompts have most of the votes, and a completion has several signals."""

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg

from app.feedback.ingest.append import lock_key

COLUMNS = (
    "project_id", "event_id", "completion_id", "actor", "signal", "prompt", "completion", "checkpoint_id",
    "occurred_at", "supersedes", "metadata", "position", "received_at",
)  # fmt: skip
ACTORS, PROMPTS = 50_000, 100_000
PROMPT, COMPLETION = 600, 800  # characters
EDITS = 0.1
CHECKPOINTS = [f"01990000-0000-7000-8000-00000000000{number}" for number in range(4)]
_SENTENCE = """
the parcel left our warehouse this morning and should arrive tomorrow before noon if it does not answer here with your
order number we send another one at once could you tell me whether address is right
Größe größer am naïve café “quotes” 日本語
"""
_WORDS = _SENTENCE.split()
_START = datetime(2026, 1, 1, tzinfo=UTC)


def fill(database_url: str, project: str, events: int, seed: int = 1) -> None:
    """Writes this number of events straight into the project's log, bypassing the API."""
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [lock_key(project)])
        with cursor.copy(f"COPY events ({', '.join(COLUMNS)}) FROM STDIN") as copy:
            for row in rows(project, events, seed):
                copy.write_row(row)
        cursor.execute("SELECT setval(log_sequence(%s)::regclass, %s)", [project, events])
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE) events")


def rows(project: str, events: int, seed: int) -> Iterator[tuple[object, ...]]:
    rng = random.Random(seed)
    texts = [_text(rng, COMPLETION) for _ in range(2000)]
    prompts = [_text(rng, PROMPT) for _ in range(2000)]
    alive: list[tuple[str, str, str]] = []  # completions that may get more signals: id, prompt, text
    received = _START
    for position in range(1, events + 1):
        received += timedelta(milliseconds=rng.randrange(1, 40))
        fresh = not alive or rng.random() < 0.4
        if fresh:
            number = _zipf(rng, PROMPTS)
            item = f"msg-{position}", f"{number}: {prompts[number % 2000]}", f"{texts[position % 2000]} {position}"
            alive.append(item)
            if len(alive) > 5000:
                alive[rng.randrange(len(alive))] = alive[-1]
                alive.pop()
        else:
            item = alive[rng.randrange(len(alive))]
        completion_id, prompt, completion = item
        yield (
            project, f"event-{position}", completion_id, f"user-{_zipf(rng, ACTORS)}",
            json.dumps(_signal(rng, completion), ensure_ascii=False, separators=(",", ":")),
            json.dumps(prompt, ensure_ascii=False) if fresh else None, completion if fresh else None,
            CHECKPOINTS[position * 4 // (events + 1)],
            received - timedelta(hours=rng.randrange(48)) if rng.random() < 0.3 else None,
            f"event-{rng.randrange(1, position)}" if position > 1 and rng.random() < 0.01 else None,
            '{"page":3,"locale":"en"}', position, received,
        )  # fmt: skip


def _signal(rng: random.Random, completion: str) -> dict[str, object]:
    drawn = rng.random()
    if drawn < EDITS:
        return {"kind": "edit", "text": _edited(rng, completion)}
    if drawn < 0.6:
        return {"kind": "thumbs", "value": "up" if rng.random() < 0.7 else "down"}
    if drawn < 0.7:
        return {"kind": "rating", "value": float(rng.randrange(1, 6)), "minimum": 1.0, "maximum": 5.0}
    if drawn < 0.72:
        return {"kind": "outcome", "name": "ticket_solved", "value": rng.random() < 0.8}
    if drawn < 0.73:
        return {"kind": "retract"}
    if drawn < 0.74:
        return {"kind": "comment", "text": _text(rng, 100)}
    return {"kind": rng.choice(["accept", "copy", "regenerate", "resolve", "reopen", "reject"])}


def _edited(rng: random.Random, text: str) -> str:
    """Returns the text with one letter doubled, with a sentence changed, or entirely rewritten, each equally likely."""
    words = text.split(" ")
    match rng.randrange(3):
        case 0:
            index = rng.randrange(len(words))
            words[index] = words[index][:-1] + words[index][-1:] * 2
        case 1:
            start = rng.randrange(max(1, len(words) - 12))
            words[start : start + 12] = rng.choices(_WORDS, k=12)
        case _:
            words = rng.choices(_WORDS, k=len(words))
    return " ".join(words)


def _text(rng: random.Random, length: int) -> str:
    words: list[str] = []
    size = 0
    while size < length:
        words.append(rng.choice(_WORDS))
        size += len(words[-1]) + 1
    return " ".join(words)


def _zipf(rng: random.Random, count: int) -> int:
    """Returns a rank below `count`, with a probability of about 1/rank: the inverse of the continuous distribution."""
    return int(count ** rng.random())
