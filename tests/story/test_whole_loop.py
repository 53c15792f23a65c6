"""The whole loop: answers through the gateway, thumbs by their ids, a run, a canary that users dislike, its end.

Real HTTP, Postgres, Redis, Celery, trainer and `transformers serve`; the reference library verifies the webhooks.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from openai import OpenAI
from thumbwheel import wire
from thumbwheel.assignment import in_canary
from thumbwheel.client import Client

from app import services
from app.cli.stack import Stack, gateway_command
from tests.story.desk import TOPICS, desk, ended, wait
from tests.webhooks.receiver import receiving

pytestmark = [pytest.mark.trial, pytest.mark.xdist_group("stack"), pytest.mark.timeout(600)]

#: The users' taste, which the run learns: the reply has more letters of the first half of the alphabet.
FIRST_HALF = "abcdefghijklm"
USERS = 160
SHARE = 0.2


@contextmanager
def gateway(stack: Stack, project: str, client: Client) -> Iterator[OpenAI]:
    """Runs `thumbwheel gateway` as a process of its own and yields OpenAI's client for it."""
    port = services.free_port()
    process = subprocess.Popen(services.tethered(gateway_command("127.0.0.1", port)), env=dict(stack.environment))

    def answers() -> bool:
        assert process.poll() is None
        try:
            return httpx.get(f"http://127.0.0.1:{port}/livez").is_success
        except httpx.TransportError:
            return False

    key = client.keys.create(wire.NewKey(name="product", scopes=["gateway:use"], project=project)).secret
    try:
        assert services.wait_until(answers, seconds=120)
        with OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key) as openai:
            yield openai
    finally:
        process.terminate()
        process.wait(60)


def answered(openai: OpenAI, project: str, user: int, seed: int = 0) -> tuple[str, str, UUID]:
    """Returns the id of a completion, its text and the checkpoint that wrote it."""
    raw = openai.completions.with_raw_response.create(
        model=project, prompt=f"{user} {TOPICS[user % len(TOPICS)]}:", max_tokens=12, temperature=1.0, seed=seed + user,
        extra_headers={"X-Thumbwheel-Actor": f"user-{user}"},
    )  # fmt: skip
    completion = raw.parse()
    return completion.id, completion.choices[0].text, UUID(raw.headers["X-Thumbwheel-Checkpoint"])


def liked(text: str) -> bool:
    letters = [letter for letter in text.lower() if letter.isalpha() and letter.isascii()]
    return sum(letter in FIRST_HALF for letter in letters) * 2 > len(letters)


def test_a_canary_that_users_dislike_is_taken_back_by_itself(
    stack: Stack, base_model: Path, transformers_serve: str, tmp_path: Path
) -> None:
    name = "whole-loop"
    rollback = wire.RollbackRules(minimum_labels=20, margin=0.05, grace_hours=0)
    monitoring = wire.MonitoringRules(rollback=rollback)
    with (
        desk(stack, name, base_model, monitoring=monitoring) as client,
        receiving() as receiver,
        gateway(stack, name, client) as openai,
    ):
        settings = {"kind": "transformers", "url": transformers_serve, "publish_folder": str(tmp_path / "published")}
        client.serving.create("real", wire.TransformersSettings.model_validate(settings))
        wait(stack, "the base model at the target", lambda: client.serving.get("real").in_step)
        endpoint = client.webhooks.create(wire.NewWebhookEndpoint(url=receiver.url, kinds=["release.*", "approval.*"]))
        receiver.secrets = [endpoint.secret]

        # Users vote on what the gateway answered, by the ids of its completions alone.
        def vote(user: int, completion_id: str, *, up: bool) -> None:
            signal = wire.Thumbs(value="up" if up else "down")
            client.events.record(wire.Event(completion_id=completion_id, actor=f"user-{user}", signal=signal))

        base = client.releases.current().checkpoint_id
        for user in range(USERS):
            completion_id, text, checkpoint_id = answered(openai, name, user)
            assert checkpoint_id == base
            vote(user, completion_id, up=liked(text))

        # A run learns from them, its checkpoint passes the gates, and a fifth of the actors get it.
        run = ended(stack, client, client.runs.start().id)
        assert run.state == "succeeded", run.reason
        checkpoint = client.checkpoints.get(run.checkpoint_id)
        assert checkpoint.verdict == "passed", checkpoint
        client.releases.ship(checkpoint.id, share=SHARE, reason="a fifth at first")

        def canary_is_served() -> bool:
            canary = client.serving.get("real").canary
            return canary is not None and canary.seen_checkpoint_id == checkpoint.id

        wait(stack, "the canary at the target", canary_is_served)
        wait(stack, "the canary at the gateway", lambda: _writers(openai, name) == {base, checkpoint.id})

        # They dislike it: the loop ends the canary, perhaps before all of them have voted, and the ledger says why.
        for user in range(USERS):
            completion_id, _, checkpoint_id = answered(openai, name, user, seed=1000)
            if client.releases.current().canary is None:
                break
            assert (checkpoint_id == checkpoint.id) == in_canary(name, checkpoint.id, f"user-{user}", SHARE)
            vote(user, completion_id, up=checkpoint_id == base)
        wait(stack, "the end of the canary", lambda: client.releases.current().canary is None)
        newest = next(client.releases.list())
        assert (newest.action, newest.by, newest.checkpoint_id) == ("end_canary", "monitoring", checkpoint.id)
        assert newest.decision is not None
        assert newest.decision.figures.comparison.high < -rollback.margin

        # A verified webhook says so, every actor has the live release again, and the target only that.
        expected = ["release.canary", "approval.fell", "release.canary_ended"]
        wait(stack, "the webhooks", lambda: sorted(receiver.types) == sorted(expected))
        assert receiver.verified == [1, 1, 1]
        wait(stack, "one model at the target", lambda: client.serving.get("real").canary is None)
        wait(stack, "one model at the gateway", lambda: _writers(openai, name) == {base})


def _writers(openai: OpenAI, project: str) -> set[UUID]:
    """Returns the checkpoints that answer the first users."""
    return {answered(openai, project, user, seed=2000)[2] for user in range(12)}
