"""Conversations of prompts, derived from their text."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.snapshots.prompts.conversations import MOST_JOINS, Known, Linked, join, link_of_id, links_of
from app.snapshots.prompts.split import group_of, key_of
from app.snapshots.prompts.transcripts import Turn, turns_of_text

WORDS = [
    "parcel", "invoice", "order", "refund", "address", "window", "engine", "garden", "bottle", "camera", "silver",
    "summer", "ticket", "yellow", "orange",
]  # fmt: skip
SYSTEM = {
    "role": "system",
    "content": "You are the friendly assistant of a shop. Answer briefly and never promise anything.",
}


def message(rng: random.Random, number: int) -> str:
    return f"{number} " + " ".join(rng.choices(WORDS, k=rng.randrange(5, 12)))


def growing_chat(seed: int, turns: int, *, system: bool = False, window: int | None = None) -> list[list[dict]]:
    """Returns the prompt of each turn of a chat. `window`: the number of latest messages in a prompt."""
    rng = random.Random(seed)
    texts = [message(rng, seed) for _ in range(2 * turns - 1)]
    chat = [{"role": ("user", "assistant")[index % 2], "content": text} for index, text in enumerate(texts)]
    prompts = [chat[: 2 * turn + 1] for turn in range(turns)]
    if window is not None:
        prompts = [prompt[-window:] for prompt in prompts]
    return [[SYSTEM, *prompt] if system else prompt for prompt in prompts]


def as_transcript(prompt: list[dict]) -> str:
    names = {"user": "Human", "assistant": "Assistant", "system": "System"}
    turns = "\n\n".join(f"{names[turn['role']]}: {turn['content']}" for turn in prompt)
    return f"{turns}\n\nAssistant:"


def conversations(prompts: list) -> dict[int, int]:
    """Maps the index of each prompt to the lowest index in its conversation. Prompts arrive in the given order."""
    known: dict[bytes, Known] = {}
    keys = [key_of(group_of(prompt)) for prompt in prompts]
    joins, _ = join(
        [Linked(key, index, links_of(prompt)) for index, (key, prompt) in enumerate(zip(keys, prompts, strict=True))],
        known,
        set(),
    )
    root = {key: key for key in keys}

    def find(key: bytes) -> bytes:
        while root[key] != key:
            key = root[key]
        return key

    for made in joins:
        root[find(made.leader)] = find(made.other)
    first: dict[bytes, int] = {}
    for index, key in enumerate(keys):
        first.setdefault(find(key), index)
    return {index: first[find(key)] for index, key in enumerate(keys)}


def separated(chats: list[list], rng: random.Random) -> list[set[int]]:
    """Returns the conversations of each chat's prompts, after all prompts arrive in a random order."""
    order = [(chat, turn) for chat, prompts in enumerate(chats) for turn in range(len(prompts))]
    rng.shuffle(order)
    found = conversations([chats[chat][turn] for chat, turn in order])
    return [{found[index] for index, (of, _) in enumerate(order) if of == chat} for chat in range(len(chats))]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    chats=st.lists(st.tuples(st.integers(2, 7), st.booleans(), st.sampled_from([None, 5, 7])), min_size=1, max_size=6),
    transcripts=st.booleans(),
)
def test_a_growing_chat_is_one_conversation_in_whatever_order_its_turns_arrive(seed, chats, transcripts):
    prompts = [
        growing_chat(seed + 7 * number, turns, system=system, window=window)
        for number, (turns, system, window) in enumerate(chats)
    ]
    if transcripts:
        prompts = [[as_transcript(prompt) for prompt in chat] for chat in prompts]

    found = separated(prompts, random.Random(seed))

    assert [len(of_chat) for of_chat in found] == [1] * len(prompts)
    assert len(set.union(*found)) == len(prompts)  # unrelated chats stay apart, with any system message


def test_chats_that_begin_with_a_greeting_stay_apart():
    greeting = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello! How can I help you today?"}]
    chats = [[greeting[:1]]] + [[[*greeting, *prompt] for prompt in growing_chat(seed, 3)] for seed in range(20)]

    found = separated(chats, random.Random(1))

    assert [len(of_chat) for of_chat in found] == [1] * len(chats)
    assert len(set.union(*found)) == len(chats)


def test_chats_that_end_with_the_same_thanks_stay_apart():
    thanks = [
        {"role": "assistant", "content": "Done."}, {"role": "user", "content": "Thanks!"},
        {"role": "assistant", "content": "You are welcome. Is there anything else that I can do for you today?"},
        {"role": "user", "content": "No"},
    ]  # fmt: skip
    chats = [[*growing_chat(seed, 2), [*growing_chat(seed, 2)[-1], *thanks]] for seed in range(20)]

    found = separated(chats, random.Random(1))

    assert len(set.union(*found)) == len(chats)


def test_a_chat_goes_on_from_an_answer_that_was_generated_again():
    first, *_, last = growing_chat(1, 3)
    again = [first[0], {"role": "assistant", "content": "Something else was shown at first."}, last[2]]

    assert set(conversations([first, last, again]).values()) == {0}


def test_a_stock_phrase_joins_no_more_than_so_many_prompts():
    opening = [
        {"role": "user", "content": "What can you help me with today?"},
        {"role": "assistant", "content": "With parcels, invoices and refunds. Which of them is it?"},
    ]
    many = 3 * MOST_JOINS

    found = conversations([[*opening, *growing_chat(seed, 1)[0]] for seed in range(many)])

    sizes = [list(found.values()).count(root) for root in set(found.values())]
    assert max(sizes) <= 2 * MOST_JOINS + 1
    assert len(sizes) > MOST_JOINS / 2


def test_an_id_joins_prompts_that_share_no_words():
    key = {name: key_of(name) for name in "abcd"}
    prompts = [
        Linked(key[name], place, [link_of_id(chat)]) for place, (name, chat) in enumerate(["a1", "b2", "c1", "d2"])
    ]

    joins, _ = join(prompts, {}, set())

    assert [(made.leader, made.other) for made in joins] == [(key["c"], key["a"]), (key["d"], key["b"])]


def test_a_prompt_of_many_conversations_joins_only_so_many_of_them():
    hello = key_of("hello there, I have a question")
    prompts = []
    for number in range(2 * MOST_JOINS):
        links = [link_of_id(f"chat {number}")]
        prompts += [Linked(key_of(f"other {number}"), 2 * number, links), Linked(hello, 2 * number + 1, links)]

    assert len(join(prompts, {}, set())[0]) == MOST_JOINS


def test_a_long_chat_has_about_a_join_a_turn():
    prompts = growing_chat(3, 40)
    for order in (prompts, prompts[::-1]):
        linked = [Linked(key_of(group_of(prompt)), place, links_of(prompt)) for place, prompt in enumerate(order)]
        assert len(join(linked, {}, set())[0]) <= 2 * len(prompts)


CHATML, LLAMA = "<|im_start|>{}\n{}<|im_end|>\n", "<|start_header_id|>{}<|end_header_id|>\n\n{}<|eot_id|>"
SAID = [("user", "Where is it?"), ("assistant", "On its way."), ("user", "Since when?")]


@pytest.mark.parametrize(
    "text",
    [
        "Human: Where is it?\n\nAssistant: On its way.\n\nHuman: Since when?\n\nAssistant:",
        "".join(CHATML.format(*turn) for turn in SAID) + "<|im_start|>assistant\n",
        "".join(LLAMA.format(*turn) for turn in SAID),
        "### User:\nWhere is it?\n### Assistant:\nOn its way.\n### User:\nSince when?\n### Assistant:\n",
    ],
)
def test_the_layout_of_a_transcript_shows_its_turns(text):
    turns = [Turn(role, said.strip()) for role, said in turns_of_text(text)]

    assert turns == SAID


@pytest.mark.parametrize(
    "text", ["Where is it?", "Translate: user: hello", "Note: this\nUser: that", "", "Human: Where is it?"]
)
def test_other_texts_are_no_transcripts(text):
    assert turns_of_text(text) == []
    assert links_of(text) == []


def test_links_of_the_turns_of_a_chat_build_on_each_other():
    prompts = growing_chat(5, 5)
    for shorter, longer in pairwise(prompts):
        assert set(links_of(shorter)) <= set(links_of(longer))
