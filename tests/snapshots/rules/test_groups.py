"""Nearly equal prompts are one group, permanently."""

import random
from hashlib import blake2b
from math import comb

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.snapshots.prompts.groups import AGREEING, Groups
from app.snapshots.prompts.sketch import BANDS, BINS, ROWS, SHINGLE, agreements, sketches
from app.snapshots.prompts.split import group_of

WORDS = [f"word{number}" for number in range(400)]


def text(seed: int, words: int = 60) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def changed(said: str, *places: int) -> str:
    words = said.split()
    for place in places:
        words[place] = "changed"
    return " ".join(words)


def key(said: str) -> bytes:
    return blake2b(said.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def leaders(texts: list[str], groups: Groups | None = None, at_a_time: int = 1000) -> list[bytes]:
    groups = groups or Groups()
    leader_of = []
    for start in range(0, len(texts), at_a_time):
        part = texts[start : start + at_a_time]
        leader_of += groups.add(part, [key(said) for said in part])
    return leader_of


#: Variants of five short texts, so that many are nearly equal.
nearly = st.builds(
    lambda seed, places: changed(text(seed, 25), *places), st.integers(0, 4), st.lists(st.integers(0, 24), max_size=4)
)
lengths = st.sampled_from(["Yes", "", "yes please"]) | nearly


def test_a_prompt_with_a_word_changed_is_of_the_group_and_another_is_not():
    one, other = text(1), text(2)

    assert leaders([one, other, changed(one, 30), other]) == [key(one), key(other), key(one), key(other)]


def test_short_prompts_are_groups_of_their_own():
    texts = ["What is the capital of France, please?", "What is the capital of France, pleas?", "", "Yes"]

    assert leaders(texts) == [key(said) for said in texts]


def test_small_steps_do_not_lead_far_away():
    start, end = text(1, 100).split(), text(2, 100).split()
    steps = [" ".join(end[:number] + start[number:]) for number in range(0, 101, 2)]

    leader_of = leaders(steps)

    assert leader_of[0] != leader_of[-1]
    assert 5 < len(set(leader_of)) < 25


def test_a_flood_of_nearly_one_prompt_is_one_group():
    flood = [changed(text(1, 80), number % 80) + f" no{number}" for number in range(300)]

    assert set(leaders(flood)) == {key(flood[0])}


def test_what_all_prompts_have_of_the_system_makes_them_no_group():
    rules = {"role": "system", "content": text(9, 500)}
    chats = [group_of([rules, {"role": "user", "content": text(seed, 20)}]) for seed in range(20)]

    assert leaders(chats) == [key(said) for said in chats]


def test_one_question_of_many_documents_makes_them_no_group():
    question = {"role": "user", "content": text(9, 20)}
    chats = [group_of([{"role": "system", "content": text(seed, 200)}, question]) for seed in range(20)]

    assert leaders(chats) == [key(said) for said in chats]


def test_a_date_in_what_the_system_says_hides_no_equal_question():
    def chat(day: int) -> str:
        system = {"role": "system", "content": f"{text(9, 200)} Today is day {day}."}
        return group_of([system, {"role": "user", "content": text(1)}])

    assert leaders([chat(1), chat(2)]) == [key(chat(1))] * 2


@pytest.mark.parametrize("rest", ["", 'a", "b"], 3]', "[" * 200_000, 'a", 1], ["b", null]]', 'a", "b"]]'])
def test_a_text_that_only_looks_like_a_chat_is_a_text(rest):
    said = '[["' + rest + " " * 60

    assert leaders([said, said]) == [key(said)] * 2


@settings(max_examples=50)
@given(st.lists(st.text(max_size=80) | lengths, max_size=12))
def test_every_leader_is_an_earlier_text_and_leads_itself(texts):
    leader_of = leaders(texts)

    for place, leader in enumerate(leader_of):
        first = next(number for number in range(place + 1) if key(texts[number]) == leader)
        assert leader_of[first] == leader
    assert leaders(texts + texts) == leader_of + leader_of


@settings(max_examples=25)
@given(st.lists(lengths, max_size=20), st.lists(lengths, max_size=8), st.integers(1, 7))
def test_what_comes_later_moves_no_prompt_however_the_log_is_cut(texts, later, at_a_time):
    leader_of = leaders(texts)

    assert leaders(texts + later)[: len(texts)] == leader_of
    assert leaders(texts, at_a_time=at_a_time) == leader_of


@settings(max_examples=25)
@given(st.lists(lengths, max_size=15), st.lists(lengths, max_size=10), st.integers(1, 7))
def test_groups_that_were_kept_go_on_as_if_they_had_never_been_away(texts, later, at_a_time):
    groups, kept = Groups(), []
    for start in range(0, len(texts), at_a_time):
        leaders(texts[start : start + at_a_time], groups)
        kept.append(groups.rows())
    again = Groups()
    for rows in kept:
        again.load(rows)

    assert again.rows().num_rows == 0
    assert leaders(later + texts, again) == leaders(later + texts, groups)
    assert again.rows().equals(groups.rows())


def test_groups_made_by_other_rules_are_refused():
    groups = Groups()
    leaders([text(1)], groups)
    rows = groups.rows()

    with pytest.raises(ValueError, match="were not made by thumbwheel sketch 1"):
        Groups().load(rows.replace_schema_metadata({"scheme": "another"}))
    with pytest.raises(ValueError, match="were not made by"):
        Groups().load(pa.table({"leader": [b"x" * 16]}))


def test_a_sketch_is_the_same_for_ever():
    """The expected values must never change, as stored groups and the sides of their prompts depend on them."""
    long = b"Where is my parcel? It was sent on Monday, and the page says nothing at all about it."
    repeated = b"ab" * 40

    sketched = sketches([long, repeated, "Straße 每 ".encode() * 9])

    digest = blake2b(sketched.bands.astype("<u8").tobytes() + sketched.prints.tobytes(), digest_size=8).hexdigest()
    assert digest == "bafdeeb79e5fc148"


def jaccard(one: bytes, other: bytes) -> float:
    sets = [{said[place : place + SHINGLE] for place in range(len(said) - SHINGLE + 1)} for said in (one, other)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def joins(similarity: float) -> float:
    """Computes the probability that two texts are joined, with the formula of the module's documentation."""
    agree = similarity + (1 - similarity) / 4
    enough = sum(comb(BINS, n) * agree**n * (1 - agree) ** (BINS - n) for n in range(AGREEING, BINS + 1))
    return (1 - (1 - similarity**ROWS) ** BANDS) * enough


@pytest.mark.parametrize(("similarity", "least", "most"), [(0.9, 0.999, 1), (0.5, 0, 1e-6)])
def test_the_formula_joins_what_is_nearly_equal_and_little_else(similarity, least, most):
    assert least <= joins(similarity) <= most


@pytest.mark.parametrize("length", [80, 600])
def test_texts_join_as_often_as_the_formula_says(length):
    draw = np.random.default_rng(5)
    pairs = []
    for changes in np.repeat(np.arange(1, length // 16), 4000 // length):
        one = draw.integers(97, 123, length, dtype=np.uint8)
        other = one.copy()
        other[draw.choice(length, changes, replace=False)] = ord("!")
        pairs.append((one.tobytes(), other.tobytes()))
    similarities = [jaccard(*pair) for pair in pairs]

    first, second = (sketches([pair[side] for pair in pairs]) for side in (0, 1))
    agree = agreements(first.prints, second.prints)
    joined = (first.bands == second.bands).any(axis=1) & (agree >= AGREEING)

    expected = np.array([joins(one) for one in similarities])
    error = 4 * np.sqrt((expected * (1 - expected)).sum()) + 1  # for independent draws
    assert abs(joined.sum() - expected.sum()) < error
    bias = agree / BINS - (np.array(similarities) * 3 / 4 + 1 / 4)
    assert abs(bias.mean()) < 4 * 0.5 / np.sqrt(BINS * len(pairs))
