"""The replay of the demo counts by the hidden rule what is mended and what is broken."""

from random import Random

import pytest
from thumbwheel import wire

from worker.demo.language import good, new_ticket, typical_reply
from worker.demo.replay import replay_of


def sample(source: str, prompt: str, answer: str | None, reply: str) -> wire.PromptSamples:
    written = wire.ModelReply(completion=reply, tokens=3, finished=True)
    fields = dict.fromkeys(wire.PromptSamples.model_fields)
    given = {"source": source, "group": "g", "decoding": "greedy", "prompt": prompt, "answer": answer}
    return wire.PromptSamples(**{**fields, **given, "candidate": written, "shipped": written, "ancestor": written})


def test_a_bad_answer_with_a_good_reply_is_mended_and_a_good_one_with_a_bad_reply_is_broken() -> None:
    rng = Random(1)
    ticket = new_ticket(rng)
    drafts = [typical_reply(ticket, rng) for _ in range(200)]
    fine = next(reply for reply in drafts if good(ticket, reply))
    poor = next(reply for reply in drafts if not good(ticket, reply))
    prompt = ticket.prompt
    samples = [
        sample("holdout", prompt, None, fine),
        *(sample("disliked", prompt, answer, reply) for answer, reply in ((poor, fine), (poor, poor), (fine, fine))),
        sample("disliked", "nobody's ticket", poor, fine),
        *(sample("liked", prompt, answer, reply) for answer, reply in ((fine, poor), (fine, fine))),
    ]

    replay = replay_of(samples, {prompt: ticket})

    assert replay is not None
    assert (replay.disliked, replay.mended.value) == (3, pytest.approx(1 / 3))
    assert (replay.liked, replay.broken.value) == (2, 0.5)
    assert replay.sentence() == (
        "Of 3 replies that users disliked, 1 are mended (6 … 79 %); of 2 that they liked, 1 are broken (9 … 91 %)."
    )
    assert replay_of(samples[:1], {prompt: ticket}) is None
