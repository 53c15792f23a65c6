"""Actors ask which checkpoint they get and where it is served, call it, and record who wrote the answer."""

import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import httpx
from thumbwheel import wire
from thumbwheel.assignment import in_canary
from thumbwheel.client import Client
from thumbwheel.errors import ClientError

from tests.chaos.serving.place import PROJECT, Place
from tests.chaos.serving.verdict import Answer

ACTORS = 40
PAUSE_SECONDS, AWAY_SECONDS = 0.02, 0.2


@dataclass
class Actors:
    """Threads, each of which acts for any of the actors. `unanswered`: requests without an answer, by the reason."""

    place: Place
    threads: int
    seed: int
    answers: list[Answer] = field(default_factory=list)
    unanswered: "Counter[str]" = field(default_factory=Counter)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _running: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> "Actors":
        for number in range(self.threads):
            self._running.append(threading.Thread(target=self._work, args=(number,), daemon=True))
            self._running[-1].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._running:
            thread.join()

    def _work(self, number: int) -> None:
        dice = random.Random(f"{self.seed} actors {number}")
        client = self.place.client(tries=1)
        with httpx.Client(timeout=5) as requests:
            while not self._stopping.wait(PAUSE_SECONDS):
                try:
                    self._ask(client, requests, f"user {dice.randrange(ACTORS)}", dice)
                except ClientError:
                    self.unanswered["the API is away"] += 1
                    self._stopping.wait(AWAY_SECONDS)
                except (httpx.HTTPError, OSError):
                    self.unanswered["the target is away"] += 1

    def _ask(self, client: Client, requests: httpx.Client, actor: str, dice: random.Random) -> None:
        state = _state(client)
        assigned = client.releases.assignment(actor).checkpoint_id
        serving = client.serving.overview()
        served = _where(serving, assigned)
        if not served:
            self.unanswered["it is served nowhere yet"] += 1
            return
        target, model, url = dice.choice(served)
        wrote = _call(requests, url, model) if url else (Path(model) / "adapter_model.safetensors").read_text()
        if wrote is None:
            self.unanswered["the target has lost it"] += 1
        elif _state(client) != state:
            self.unanswered["the ledger has moved on"] += 1
        else:
            self.answers.append(Answer(state, actor, assigned, wrote, target, _by_rule(serving, actor)))


def _state(client: Client) -> int:
    """Returns the number of the newest entry of the ledger."""
    return next(client.releases.list()).number


def _by_rule(serving: wire.Serving, actor: str) -> UUID:
    """Returns the checkpoint that the actor gets by the rule that every process can apply by itself."""
    canary = serving.canary
    if canary is not None and in_canary(PROJECT, canary.checkpoint_id, actor, canary.share or 0.0):
        return canary.checkpoint_id
    return serving.checkpoint_id


def _where(serving: wire.Serving, checkpoint_id: UUID) -> list[tuple[str, str, str | None]]:
    """Returns target, model and address wherever the checkpoint was seen to be served."""
    return [
        (target.name, shown.model, target.url)
        for target in serving.targets
        for shown in (target, target.canary)
        if shown is not None and shown.seen_checkpoint_id == checkpoint_id and shown.model is not None
    ]


def _call(requests: httpx.Client, url: str, model: str) -> str | None:
    answer = requests.post(f"{url}/completions", json={"model": model, "prompt": "Hello", "max_tokens": 1})
    return str(answer.json()["choices"][0]["text"]) if answer.is_success else None
