"""The report on texts that both sides of a snapshot share."""

import json
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.snapshots.leakage import report as leakage
from app.snapshots.leakage.longest_run import longest_shared
from app.snapshots.leakage.report import ActorOverlap, Leakage, actor_overlap, on_both_sides

NOBODY = ActorOverlap(0, 0, 0, 0.0)
few_words = st.lists(st.sampled_from("abc"), min_size=1, max_size=12).map(" ".join)


def key(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()


def report(train: list[str], holdout: list[str], at_a_time: int = 100) -> dict:
    """Returns the leakage report on rows whose completions are the words of their prompts in reverse order."""
    totals = Leakage()
    for split, texts in (("train", train), ("holdout", holdout)):
        for start in range(0, len(texts), at_a_time):
            part = texts[start : start + at_a_time]
            totals.add(split, part, [" ".join(reversed(text.split())) for text in part], [key(text) for text in part])
    return totals.report(groups_on_both_sides=0, conversations_on_both_sides=0, actors=NOBODY)


def windows(text: str, n: int) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[place : place + n]) for place in range(len(words) - n + 1)}


@settings(max_examples=60)
@given(st.lists(few_words, max_size=5), st.lists(few_words, max_size=5), st.integers(1, 9))
def test_the_longest_shared_run_is_that_of_all_windows_compared(first, second, at_least):
    def shared(n: int) -> set[tuple[str, ...]]:
        sides = (set().union(*(windows(text, n) for text in texts)) for texts in (first, second))
        return set.intersection(*sides)

    longest = longest_shared(first, second, at_least=at_least)

    assert longest.words == max((n for n in range(1, 13) if shared(n)), default=0)
    assert longest.texts == sum(bool(windows(text, at_least) & shared(at_least)) for text in first)


def test_runs_are_found_in_every_part_of_many_texts(monkeypatch):
    monkeypatch.setattr("app.snapshots.leakage.longest_run.PART", 5)
    other = [f"x{n} y{n} z{n} u{n} v{n}" for n in range(30)]

    longest = longest_shared(["p a b c d e q"], [*other, "a b c d e", *other], at_least=5)

    assert (longest.words, longest.texts) == (5, 1)


def test_prompts_and_completions_are_reported_apart():
    both = [f"number {n} " + " ".join(f"w{n}x{place}" for place in range(20)) for n in range(3)]

    document = report(both[:2], [both[2], both[1] + " and more"])

    assert document["sample"]["train"] == document["sample"]["holdout"] == 2
    assert document["prompts"]["longest_shared_words"] == 22
    assert document["prompts"]["holdout_overlapping"] == 1
    assert document["completions"]["longest_shared_words"] == 22


def test_what_the_system_says_in_every_chat_is_no_leak():
    system = " ".join(f"rule{n}" for n in range(50))
    chats = [json.dumps([["system", system], ["user", f"question{n} please"]]) for n in range(2)]

    assert report(chats[:1], chats[1:])["prompts"]["longest_shared_words"] == 1


def test_no_rows_share_nothing():
    document = report([], [])

    assert document["prompts"]["longest_shared_words"] == document["completions"]["longest_shared_words"] == 0


@settings(max_examples=25)
@given(st.lists(few_words, max_size=30), st.lists(few_words, max_size=30), st.randoms(), st.integers(1, 9))
def test_the_sample_is_bounded_and_the_same_in_whatever_order_rows_come(train, holdout, chance, at_a_time):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leakage, "SAMPLE", {"train": 7, "holdout": 3})
        found = report(train, holdout)
        assert found["sample"]["train"] == min(7, len(set(train)))
        chance.shuffle(train)
        chance.shuffle(holdout)
        assert report(train, holdout, at_a_time) == found


def test_groups_on_both_sides_are_counted():
    group, held_out = np.array([0, 1, 2, 2, 3, 1]), np.array([True, False, True, False, False, False])

    assert on_both_sides(group, held_out) == 1
    assert on_both_sides(group, np.zeros(6, dtype=bool)) == 0
    assert on_both_sides(np.array([], np.int64), np.array([], dtype=bool)) == 0


def test_actors_on_both_sides_are_counted_with_the_training_weight_that_is_theirs():
    rows, actors = np.array([0, 0, 1, 2, 3]), np.array([0, 1, 1, 2, 0])
    held_out, weight = np.array([False, False, False, True]), np.array([1.0, 0.5, 2.5, 9.0])

    overlap = actor_overlap((rows, actors), held_out, weight)

    assert overlap == ActorOverlap(train=3, holdout=1, on_both_sides=1, share_of_training_weight=0.25)


def test_nobody_is_on_both_sides_of_nothing():
    none = np.array([], np.int64)

    assert actor_overlap((none, none), np.array([], dtype=bool), np.array([])) == NOBODY
