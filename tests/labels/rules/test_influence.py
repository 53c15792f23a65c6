"""Caps on the weight of an actor and of a group of prompts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from thumbwheel.wire.guard_rules import Cap, Influence

from app.labels.guards import portions
from app.labels.guards.influence import Capped, capped

EXCEEDED = 1 + 1e-9
UNLIMITED = Influence(actor=None, prompt=None)


class Rows:
    """Rows, each with a weight, its actors and a group of prompts."""

    def __init__(self, rows: list[tuple[float, list[int], int]]) -> None:
        self.weight = np.array([weight for weight, _, _ in rows], np.float64)
        pairs = [(row, actor) for row, (_, actors, _) in enumerate(rows) for actor in actors]
        self.row = np.array([row for row, _ in pairs], np.int64)
        self.actor = np.array([actor for _, actor in pairs], np.uint32)
        self.prompt = np.array([prompt for _, _, prompt in rows], np.uint32)

    def under(self, rules: Influence) -> Capped:
        return capped(self.weight, (self.row, self.actor), self.prompt, rules)

    def shares(self, result: Capped) -> tuple[np.ndarray, np.ndarray]:
        """Returns the weight that remains for each actor and for each group after the caps."""
        equal = (self.weight / np.maximum(np.bincount(self.row, minlength=len(self.weight)), 1))[self.row]
        kept = equal * result.actors[self.actor] * result.prompts[self.prompt[self.row]]
        return np.bincount(self.actor, kept), np.bincount(self.prompt, result.weight)

    def limits(self, rules: Influence, result: Capped) -> tuple[float, float]:
        """Returns the caps in weight that the rules set for an actor and for a group."""
        weighs = self.weight[self.row] > 0
        counts = len(set(self.actor[weighs].tolist())), len(set(self.prompt[self.weight > 0].tolist()))
        total = result.weight.sum()
        return tuple(
            np.inf if cap is None else min(max(cap.share, cap.times_equal / max(count, 1)) * total, cap.rows)
            for cap, count in zip((rules.actor, rules.prompt), counts, strict=True)
        )


_caps = st.none() | st.builds(
    Cap,
    share=st.floats(0.001, 1),
    rows=st.floats(1, 50) | st.just(1e6),
    times_equal=st.floats(1, 3) | st.just(1.0) | st.just(10.0),
)
_rules = st.builds(Influence, actor=_caps, prompt=_caps)
_rows = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.001, 0.25, 1.0, 10.0]),
        st.lists(st.integers(0, 12), max_size=4, unique=True),
        st.integers(0, 9),
    ),
    max_size=60,
).map(Rows)


@given(_rows, _rules)
def test_a_cap_is_never_exceeded_and_no_weight_rises(rows, rules):
    result = rows.under(rules)

    actors, prompts = rows.shares(result)
    actor_limit, prompt_limit = rows.limits(rules, result)
    assert actors.max(initial=0) <= actor_limit * EXCEEDED
    assert prompts.max(initial=0) <= prompt_limit * EXCEEDED
    assert (result.weight >= 0).all()
    assert (result.weight <= rows.weight).all()


@given(_rows, _rules)
def test_nothing_changes_where_nothing_is_over_a_cap(rows, rules):
    before = rows.under(UNLIMITED)
    actors, prompts = rows.shares(before)
    actor_limit, prompt_limit = rows.limits(rules, before)
    over = actors.max(initial=0) > actor_limit or prompts.max(initial=0) > prompt_limit

    result = rows.under(rules)

    assert before.weight.tolist() == rows.weight.tolist()
    if not over:
        assert result.weight.tolist() == rows.weight.tolist()
        assert not np.any(result.by_actor | result.by_prompt)


@given(_rows, _rules, st.randoms(use_true_random=True))
def test_the_order_of_the_rows_does_not_matter(rows, rules, random):
    order = list(range(len(rows.weight)))
    random.shuffle(order)
    turned = Rows([])
    turned.weight, turned.prompt = rows.weight[order], rows.prompt[order]
    rank = np.argsort(order)
    turned.row, turned.actor = rank[rows.row][::-1], rows.actor[::-1]

    expected, found = rows.under(rules).weight[order], turned.under(rules).weight

    assert found == pytest.approx(expected, rel=1e-5, abs=1e-7 * (rows.weight.sum() + 1))


@given(_rows, _rules, st.integers(1, 20))
def test_how_much_is_added_up_at_once_changes_no_bit(rows, rules, at_once):
    whole = rows.under(rules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(portions, "AT_ONCE", at_once)
        result = rows.under(rules)

    for name in ("weight", "by_actor", "by_prompt", "actors", "prompts"):
        assert getattr(result, name).tolist() == getattr(whole, name).tolist()


@given(_rows, _caps.filter(lambda cap: cap is not None))
def test_one_kind_of_cap_always_leaves_something(rows, cap):
    """A `times_equal` of 1 or more always allows equal shares for all."""
    for rules in (Influence(actor=cap, prompt=None), Influence(actor=None, prompt=cap)):
        assert (rows.under(rules).weight.sum() > 0) == (rows.weight.sum() > 0)


def test_the_total_is_the_largest_that_holds():
    """The log has 100 actors with one row each and one with 900. 10 % of T = 100 + T / 10 is 100 / 9 rows."""
    rows = Rows([(1.0, [actor], actor) for actor in range(100)] + [(1.0, [100], 100 + n) for n in range(900)])

    result = rows.under(Influence(actor=Cap(share=0.1, rows=5_000, times_equal=1), prompt=None))

    assert result.weight.sum() == pytest.approx(1000 / 9, rel=1e-9)
    assert result.weight[:100].tolist() == [1.0] * 100
    assert result.weight[100:] == pytest.approx([100 / 9 / 900] * 900, rel=1e-9)
    assert result.by_actor.tolist() == [False] * 100 + [True] * 900
    assert not result.by_prompt.any()


def test_the_smaller_of_share_and_rows_counts():
    rows = Rows([(1.0, [n % 4], n % 4) for n in range(40)])

    result = rows.under(Influence(actor=Cap(share=0.5, rows=2), prompt=None))

    assert result.weight.sum() == pytest.approx(8, rel=1e-9)


def test_few_actors_may_have_ten_equal_shares_each():
    rows = Rows([(1.0, [n % 8], n) for n in range(800)])

    assert rows.under(Influence(prompt=None)).weight.tolist() == rows.weight.tolist()


def test_who_votes_along_with_somebody_over_the_cap_keeps_the_own_share():
    """The winning side of every row is actor 0 and one other actor, a different one each time."""
    rows = Rows([(1.0, [0, 1 + n], n) for n in range(100)])

    result = rows.under(Influence(actor=Cap(share=0.02, rows=5_000, times_equal=1), prompt=None))

    assert result.weight == pytest.approx([0.5 + 0.5 * result.actors[0]] * 100)
    assert result.actors[1:].tolist() == [1.0] * 100
    assert rows.shares(result)[0][0] == pytest.approx(0.02 * result.weight.sum(), rel=1e-9)


def test_one_prompt_that_everybody_tries_does_not_take_the_other_rows_with_it():
    """A single prompt has 99 of the 100 rows of each actor. Once it is capped, no actor exceeds the cap."""
    rows = Rows([(1.0, [actor], 0 if n < 99 else 1 + actor) for actor in range(200) for n in range(100)])

    result = rows.under(
        Influence(actor=Cap(share=0.01, rows=5_000, times_equal=1), prompt=Cap(share=0.01, rows=1e4, times_equal=1))
    )

    assert result.weight.sum() == pytest.approx(200 / 0.99, rel=1e-6)
    assert not result.by_actor.any()


def test_where_no_weights_can_hold_both_caps_nothing_is_left():
    """The last actor judges all prompts but one; the other actors judge only that one."""
    rows = Rows([(1.0, [actor], 0) for actor in range(50)] + [(1.0, [50], 1 + n) for n in range(50)])

    result = rows.under(
        Influence(actor=Cap(share=0.1, rows=5_000, times_equal=1), prompt=Cap(share=0.1, rows=5_000, times_equal=1))
    )

    assert result.weight.sum() == 0


def test_rows_without_an_actor_fall_under_the_cap_of_their_prompt_alone():
    rows = Rows([(1.0, [], 0)] * 10 + [(1.0, [1], 1 + n) for n in range(10)])

    result = rows.under(Influence(actor=Cap(share=1, rows=5, times_equal=1), prompt=Cap(share=1, rows=2)))

    assert result.weight.tolist() == pytest.approx([0.2] * 10 + [0.5] * 10)


def test_no_rows_at_all_are_fine():
    assert Rows([]).under(Influence()).weight.tolist() == []
