"""Detection of bursts, one-sided votes and rings."""

import random
from datetime import UTC, datetime, timedelta
from math import comb

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thumbwheel.wire.guard_rules import Burst, OneWay, Quarantine, Ring

from app.labels.guards import chance, portions, rings
from app.labels.guards.findings import FINDINGS, findings

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NONE = Quarantine(burst=None, one_way=None, ring=None)

Vote = tuple[int, int, float, bool]  # actor, completion, seconds after noon, desirable


def frame(votes: list[Vote]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "actor": pl.Series([actor for actor, _, _, _ in votes], dtype=pl.UInt32),
            "judged": pl.Series([completion for _, completion, _, _ in votes], dtype=pl.UInt32),
            "moment": pl.Series(
                [NOON + timedelta(seconds=seconds) for _, _, seconds, _ in votes], dtype=pl.Datetime("us", "UTC")
            ),
            "desirable": pl.Series([desirable for _, _, _, desirable in votes], dtype=pl.Boolean),
            "compared": pl.Series([False] * len(votes), dtype=pl.Boolean),
        }
    )


def found(votes: list[Vote], **rules: Burst | OneWay | Ring) -> list[dict]:
    table = findings(frame(votes), NONE.model_copy(update=rules))
    assert table.schema == FINDINGS
    return [{name: value for name, value in row.items() if value is not None} for row in table.to_dicts()]


def crowd(
    actors: int, each: int, *, share: float, seed: int = 1, first: int = 100, completions: int = 10_000
) -> list[Vote]:
    """Returns a day of votes of actors numbered from `first`, `share` of them desirable, about random completions."""
    draw = random.Random(seed)
    return [
        (actor, completion, draw.uniform(0, 86_400), draw.random() < share)
        for actor in range(first, first + actors)
        for completion in draw.sample(range(completions), each)
    ]


# -- bursts -----------------------------------------------------------------------------------------------------------


def test_many_votes_in_a_short_while_are_a_burst_with_its_figures():
    quick = [(0, number, 100 + number * 0.5, True) for number in range(80)]
    slow = [(0, 200 + number, 1000 + number * 30, True) for number in range(100)]

    assert found(quick + slow, burst=Burst(votes=60, seconds=30)) == [
        {"actor": 0, "rule": "burst", "votes": 61, "seconds": 30.0, "examples": [0, 1, 2, 3, 4]}
    ]


def test_as_many_votes_of_a_person_who_reads_are_none():
    assert found([(0, number, number * 2.0, True) for number in range(500)], burst=Burst(votes=60, seconds=60)) == []


def test_votes_of_several_people_at_once_are_no_burst():
    votes = [(actor, actor * 100 + number, number, True) for actor in range(10) for number in range(20)]

    assert found(votes, burst=Burst(votes=21, seconds=60)) == []
    assert len(found(votes, burst=Burst(votes=20, seconds=60))) == 10


def test_examples_are_only_what_the_actor_judged():
    votes = [(0, 10, 0.0, True), (0, 11, 1.0, True), (1, 20, 0.0, False), (1, 21, 500.0, False)]

    [one] = found(votes, burst=Burst(votes=2, seconds=60))

    assert (one["actor"], one["examples"]) == (0, [10, 11])


_moments = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40)), max_size=60)


@given(_moments, st.integers(2, 8), st.integers(1, 20), st.randoms(use_true_random=True))
def test_bursts_are_those_that_counting_finds(drawn, least, seconds, random):
    votes = [(actor, number, float(moment), True) for number, (actor, moment) in enumerate(drawn)]
    most = {
        actor: max(
            sum(other == actor and start <= moment <= start + seconds for other, moment in drawn)
            for mine, start in drawn
            if mine == actor
        )
        for actor, _ in drawn
    }
    rule = Burst(votes=least, seconds=seconds)

    rows = found(votes, burst=rule)

    assert {row["actor"]: row["votes"] for row in rows} == {a: n for a, n in most.items() if n >= least}
    random.shuffle(votes)
    assert [row["actor"] for row in found(votes, burst=rule)] == [row["actor"] for row in rows]


# -- one way ----------------------------------------------------------------------------------------------------------


def test_who_votes_one_way_where_others_do_not_is_found_with_both_shares():
    votes = crowd(100, 30, share=0.7)
    ups = sum(desirable for *_, desirable in votes)
    praise = [(0, 20_000 + number, number * 600.0, True) for number in range(100)]

    [one] = found(votes + praise, one_way=OneWay())

    assert (one["actor"], one["rule"], one["votes"], one["desirable"], one["share"]) == (0, "one_way", 100, True, 1.0)
    assert one["others_share"] == pytest.approx(ups / len(votes))
    assert one["examples"] == [20_000, 20_001, 20_002, 20_003, 20_004]


def test_the_same_on_the_other_side_and_with_a_few_votes_for_a_cover():
    blame = [(0, 20_000 + number, number * 600.0, number < 3) for number in range(150)]

    [one] = found(crowd(100, 30, share=0.7) + blame, one_way=OneWay())

    assert (one["desirable"], one["share"]) == (False, 147 / 150)
    assert one["examples"] == [20_003, 20_004, 20_005, 20_006, 20_007]


def test_where_nearly_everybody_praises_who_praises_is_not_found():
    praise = [(0, 20_000 + number, number * 600.0, True) for number in range(200)]

    assert found(crowd(100, 30, share=0.97) + praise, one_way=OneWay()) == []


@pytest.mark.parametrize("share", [0.5, 0.9, 0.98])
def test_actors_who_vote_as_everybody_does_are_not_found(share):
    """The votes are of 20 projects of 300 actors each. A rule on the share alone would find many actors at 0.98."""
    for seed in range(20):
        draw = np.random.default_rng(seed)
        votes = pl.DataFrame(
            {
                "actor": np.repeat(np.arange(300, dtype=np.uint32), 60),
                "judged": np.arange(18_000, dtype=np.uint32),
                "compared": np.zeros(18_000, dtype=bool),
                "moment": pl.Series([NOON]).new_from_index(0, 18_000),
                "desirable": draw.random(18_000) < share,
            }
        )
        assert findings(votes, NONE.model_copy(update={"one_way": OneWay()})).is_empty()


def test_against_a_handful_of_other_votes_nobody_is_found():
    praise = [(0, number, number * 600.0, True) for number in range(50)]

    assert found(praise, one_way=OneWay()) == []
    assert found([*praise, *((1, 900 + number, 0.0, False) for number in range(3))], one_way=OneWay()) == []


@pytest.mark.parametrize(("n", "m"), [(50, 50), (50, 400), (200, 7), (1, 1)])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.97])
def test_the_bound_on_two_shares_is_above_the_probability(n, m, share):
    """Sums the probabilities of all outcomes that are at least x apart and compares them with the bound at x."""
    heads, other = (each.astype(float) for each in np.indices((n + 1, m + 1)))
    far = chance.two_shares(heads.ravel(), np.full(heads.size, float(n)), other.ravel(), np.full(heads.size, float(m)))
    likely = np.outer(*(
        [comb(total, k) * share**k * (1 - share) ** (total - k) for k in range(total + 1)] for total in (n, m)
    )).ravel()  # fmt: skip

    for x in (1.0, 3.0, 6.0, 10.0, 19.0, 25.0):
        assert likely[far >= x].sum() <= 4 * (1 + x - 2 * np.log(2)) * np.exp(-x)
    assert 4 * (1 + 19 - 2 * np.log(2)) * np.exp(-chance.MILLION_OF_TWO) < 1e-6


def test_the_bound_on_a_count_is_above_the_tail_of_poisson_and_binomial():
    from statsmodels.stats.proportion import binom_test  # takes longer than other tests here

    for k, expected in [(5, 0.5), (20, 0.2), (10, 8.0), (3, 7.0)]:
        [x] = chance.more_than(np.array([float(k)]), np.array([expected]))
        assert binom_test(k, 1000, expected / 1000, alternative="larger") <= np.exp(-x)


# -- rings ------------------------------------------------------------------------------------------------------------

RING = Ring()


def ring_of(actors: list[int], completions: range, *, dissent: int = 0) -> list[Vote]:
    """Returns votes of all actors on all completions, each third undesirable. The last actor disagrees on `dissent`."""
    return [
        (
            actor,
            completion,
            actor * 1000.0 + completion,
            (completion % 3 > 0) ^ (actor == actors[-1] and index < dissent),
        )
        for actor in actors
        for index, completion in enumerate(completions)
    ]


def test_three_who_judge_the_same_twenty_in_the_same_way_are_a_ring():
    rows = found(crowd(100, 30, share=0.7) + ring_of([3, 5, 9], range(20_000, 20_020)), ring=RING)

    assert [(row["actor"], row["rule"], row["ring"]) for row in rows] == [
        (3, "ring", [5, 9]), (5, "ring", [3, 9]), (9, "ring", [3, 5])
    ]  # fmt: skip
    assert [(row["votes"], row["together"], row["overlap"], row["agreement"]) for row in rows] == [(20, 20, 1, 1)] * 3
    assert rows[0]["examples"] == [20_000, 20_001, 20_002, 20_003, 20_004]


def test_a_ring_is_found_in_whatever_order_its_votes_come():
    votes = crowd(100, 30, share=0.7) + ring_of([3, 5, 9], range(20_000, 20_020))
    rows = found(votes, ring=RING)
    random.Random(1).shuffle(votes)

    assert found(votes, ring=RING) == rows


def test_a_ring_on_completions_that_others_judge_too_and_with_votes_elsewhere_is_found():
    """The completions of the ring have two or three other voters each, and each member votes on two others."""
    cover = [(actor, 5000 + actor * 10 + number, 0.0, True) for actor in (3, 5, 9) for number in range(2)]
    others = crowd(500, 30, share=0.7, completions=6000)

    rows = found(others + ring_of([3, 5, 9], range(100, 130)) + cover, ring=RING)

    assert [row["actor"] for row in rows] == [3, 5, 9]
    assert all(row["overlap"] == pytest.approx(30 / 34) for row in rows)


def test_two_are_no_ring_unless_the_rule_says_so():
    votes = crowd(100, 30, share=0.7) + ring_of([3, 5], range(20_000, 20_020))

    assert found(votes, ring=RING) == []
    assert [row["actor"] for row in found(votes, ring=Ring(actors=2))] == [3, 5]


def test_who_judges_the_same_in_another_way_is_in_no_ring():
    votes = crowd(100, 30, share=0.7) + ring_of([3, 5, 9], range(20_000, 20_020), dissent=2)

    assert found(votes, ring=RING) == []


def test_people_who_judge_the_same_popular_completions_are_no_ring():
    """The 60 actors judge 24 of the same 25 completions each, and all of them agree."""
    draw = random.Random(1)
    votes = [
        (actor, completion, 0.0, completion % 4 > 0) for actor in range(60) for completion in draw.sample(range(25), 24)
    ]

    assert found(votes, ring=RING) == []


def test_nor_where_the_popular_ones_are_few_among_many():
    """Votes of 150 actors are about the answers on the start page; thousands of other votes are about other answers."""
    draw = random.Random(1)
    canned = [
        (1000 + actor, 50_000 + number, 0.0, number % 4 > 0)
        for actor in range(150)
        for number in draw.sample(range(25), 24)
    ]

    assert found(canned + crowd(300, 30, share=0.7), ring=RING) == []


def test_people_who_judge_at_random_are_no_ring():
    assert found(crowd(400, 25, share=0.9, completions=60), ring=RING) == []


def test_everybody_who_is_linked_by_others_is_in_the_ring():
    """Neighbours in the chain share nine tenths, but its ends share less than the rule requires."""
    votes = crowd(200, 30, share=0.7)
    for actor in range(6):
        votes += ring_of([actor], range(20_000 + actor * 3, 20_030 + actor * 3))

    assert found(votes, ring=RING)[0]["ring"] == [1, 2, 3, 4, 5]


@given(st.integers(0, 10_000))
@settings(max_examples=30)
def test_pairs_that_are_compared_leave_none_out_that_the_rule_would_link(seed):
    """Compares the result with a check of all pairs, in a crowd whose small sets overlap heavily."""
    draw = random.Random(seed)
    votes = []
    for actor in range(25):
        shown = draw.randrange(3) * 12
        votes += [(actor, c, 0.0, c % 3 > 0) for c in draw.sample(range(shown, shown + 14), draw.randint(9, 13))]
    rule = Ring(together=8, overlap=0.6, agreement=0.6, actors=2)
    sets = {actor: {c for mine, c, _, _ in votes if mine == actor} for actor in range(25)}
    alike = {
        (one, other)
        for one in sets
        for other in sets
        if one < other
        and len(sets[one] & sets[other]) >= rule.together
        and len(sets[one] & sets[other]) / len(sets[one] | sets[other]) >= rule.overlap
    }

    said = rings._Votes.of(frame(votes))
    compared = {tuple(sorted(divmod(int(pair), 25))) for pair in rings._candidates(said, rule)}

    assert alike <= compared


# -- all together -----------------------------------------------------------------------------------------------------


def test_findings_come_by_actor_and_rule_and_nothing_is_found_in_nothing():
    praise = [(7, 20_000 + number, number * 0.1, True) for number in range(300)]
    votes = crowd(100, 30, share=0.5) + praise + ring_of([3, 5, 9], range(30_000, 30_020))

    assert [(row["actor"], row["rule"]) for row in findings(frame(votes), Quarantine()).to_dicts()] == [
        (3, "ring"), (5, "ring"), (7, "burst"), (7, "one_way"), (9, "ring")
    ]  # fmt: skip
    assert findings(frame([]), Quarantine()).is_empty()
    assert findings(frame(votes), NONE).is_empty()
    assert findings(frame([(0, 0, 0.0, True)]), Quarantine()).is_empty()


@pytest.mark.parametrize("at_once", [1, 7, 40, 1000])
def test_how_much_is_looked_at_at_once_changes_nothing(monkeypatch, at_once):
    """Bursts, one-sided votes and rings of unequal size occur, with gaps between the numbers of actors."""
    votes = crowd(60, 30, share=0.6, completions=900) + ring_of([3, 5, 9, 2000], range(20_000, 20_020), dissent=1)
    votes += ring_of([4, 6], range(300, 330)) + ring_of([7], range(303, 331)) + ring_of([70], range(300, 335))
    votes += [(8, 5000 + number, number * 0.1, number % 60 > 0) for number in range(300)]
    rules = Quarantine(burst=Burst(votes=60, seconds=30), one_way=OneWay(), ring=Ring(overlap=0.3))
    whole = findings(frame(votes), rules)
    assert set(whole["rule"]) == {"burst", "one_way", "ring"}
    monkeypatch.setattr(portions, "AT_ONCE", at_once)
    monkeypatch.setattr(portions, "TIMES", len(votes))
    random.Random(at_once).shuffle(votes)

    assert findings(frame(votes), rules).to_dicts() == whole.to_dicts()


def compared(votes: list[Vote], *, sent: bool = True) -> pl.DataFrame:
    """Returns the votes as comparisons of two completions. `sent`: whether they have a time."""
    table = frame(votes).with_columns(pl.lit(value=True).alias("compared"))
    return table if sent else table.with_columns(pl.lit(None, dtype=pl.Datetime("us", "UTC")).alias("moment"))


def test_votes_whose_time_was_not_sent_are_no_burst():
    votes = [(1, number, number / 10, number % 2 > 0) for number in range(200)]
    only_some = compared(votes).with_columns(
        pl.when(pl.col("judged") < 59).then(pl.col("moment")).alias("moment"),
    )

    assert findings(compared(votes, sent=False), NONE.model_copy(update={"burst": Burst()})).is_empty()
    assert findings(only_some, NONE.model_copy(update={"burst": Burst()})).is_empty()


def test_a_comparison_is_one_vote_of_a_burst():
    rules = NONE.model_copy(update={"burst": Burst(votes=60)})

    assert findings(compared([(1, number, 0.5 * number, True) for number in range(59)]), rules).is_empty()
    [row] = findings(compared([(1, number, 0.5 * number, True) for number in range(60)]), rules).to_dicts()
    assert row["votes"] == 60


def test_comparisons_are_on_no_side():
    others = frame(crowd(300, 60, share=0.5))
    rules = NONE.model_copy(update={"one_way": OneWay()})

    assert findings(pl.concat([others, compared([(1, number, 0, True) for number in range(300)])]), rules).is_empty()
    assert not findings(pl.concat([others, frame([(1, number, 0, True) for number in range(300)])]), rules).is_empty()
