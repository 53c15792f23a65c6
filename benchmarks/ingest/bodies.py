"""Events as products send them: a prompt of about 600 characters and a completion of about 800."""

import json
import random
from uuid import UUID

import uuid6

PROMPT, COMPLETION = 600, 800
KINDS = 64  # different texts: enough that no cache of them helps
_WORDS = [
    "the",
    "parcel",
    "left",
    "our",
    "warehouse",
    "this",
    "morning",
    "and",
    "should",
    "arrive",
    "tomorrow",
    "before",
    "noon;",
    "if",
    "it",
    "does",
    "not,",
    "answer",
    "here",
    "with",
    "your",
    "order",
    "number",
    "and",
    "we",
    "send",
    "another",
    "one",
    "at",
    "once.",
    "Could",
    "you",
    "tell",
    "me",
    "whether",
    "the",
    "address",
    "is",
    "right?",
    "Größe,",
    "größer,",
    "am",
    "größten",
    "—",
    "naïve",
    "café",
    "“quotes”",
    "📦",
    "日本語",
    "",
]


class Bodies:
    """An endless supply of events. Except for the event ids, it depends only on the seed."""

    def __init__(self, seed: int = 1) -> None:
        rng = random.Random(seed)
        self._kinds = [self._kind(rng) for _ in range(KINDS)]

    def body(self, number: int) -> bytes:
        """Returns an event, with a new id, as JSON."""
        head = f'{{"event_id":"{uuid6.uuid7()}","completion_id":"msg-{number}","actor":"user-{number % 5000}",'
        return head.encode() + self._kinds[number % KINDS]

    def lines(self, start: int, count: int) -> bytes:
        """Returns a batch with one event per line."""
        return b"\n".join(self.body(number) for number in range(start, start + count))

    @staticmethod
    def _kind(rng: random.Random) -> bytes:
        def text(length: int) -> str:
            words: list[str] = []
            while sum(map(len, words)) + len(words) < length * rng.uniform(0.97, 1.03):
                words.append(rng.choice(_WORDS))
            return " ".join(words).strip() or "empty"

        rest = {
            "prompt": text(PROMPT),
            "completion": text(COMPLETION),
            "signal": {"kind": "thumbs", "value": rng.choice(["up", "down"])},
            "checkpoint_id": str(UUID(int=rng.getrandbits(128))),
            "occurred_at": "2026-01-02T03:04:05.678Z",
            "metadata": {"page": rng.randrange(10), "locale": "en"},
        }
        return json.dumps(rest, ensure_ascii=False)[1:].encode()
