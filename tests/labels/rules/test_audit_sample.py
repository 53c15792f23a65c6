"""The rows that an audit draws: properties of the stratified sample."""

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.labels.audits.sample import Sample, Stratum, draw, kind_of, shares

STRATA = st.builds(
    Stratum,
    label=st.booleans(),
    checkpoint_id=st.sampled_from([None, UUID(int=1), UUID(int=2)]),
    kind=st.sampled_from(["thumbs", "edit", "rating"]),
)
SIZES = st.dictionaries(STRATA, st.integers(1, 60), min_size=1)
SEEDS = st.integers(0, 2**63 - 1)


def rows_of(sizes: dict[Stratum, int]) -> list[tuple[Stratum, str]]:
    return [
        (stratum, f"c{number}-{row}") for number, (stratum, size) in enumerate(sizes.items()) for row in range(size)
    ]


def drawn_of(sample: Sample, rows: list[tuple[Stratum, str]]) -> Counter[Stratum]:
    return Counter(stratum for stratum, completion_id in rows if completion_id in sample.numbers)


@given(SIZES, st.integers(1, 50), SEEDS)
def test_each_class_has_as_many_rows_as_requested_or_all_and_no_stratum_is_left_out(sizes, per_class, seed):
    rows = rows_of(sizes)

    sample = draw(rows, per_class=per_class, seed=seed)

    drawn = drawn_of(sample, rows)
    for label in (True, False):
        of_label = {stratum: size for stratum, size in sizes.items() if stratum.label is label}
        total = sum(of_label.values())
        assert sample.rows[label] == total
        assert sum(drawn[stratum] for stratum in of_label) == min(per_class, total)
        assert all(drawn[stratum] <= size for stratum, size in of_label.items())
        if len(of_label) <= per_class:
            assert all(drawn[stratum] >= 1 for stratum in of_label)
    assert sorted(sample.numbers.values()) == list(range(1, len(sample.numbers) + 1))


@given(SIZES, st.data(), SEEDS)
def test_beyond_the_first_row_of_each_stratum_shares_are_proportional_to_within_one_row(sizes, data, seed):
    total = data.draw(st.integers(1, sum(sizes.values())))

    seats = shares(sizes, total, seed)

    first = 1 if len(sizes) <= total else 0
    left = sum(sizes.values()) - first * len(sizes)
    assert sum(seats.values()) == total
    for stratum, size in sizes.items():
        quota = (total - first * len(sizes)) * (size - first) / left if left else 0
        assert abs(seats[stratum] - first - quota) < 1
        assert seats[stratum] <= size


@given(SIZES, st.integers(1, 50), SEEDS, st.randoms(use_true_random=True))
def test_the_order_in_which_rows_come_makes_no_difference(sizes, per_class, seed, random):
    rows = rows_of(sizes)
    shuffled = random.sample(rows, len(rows))

    assert draw(shuffled, per_class=per_class, seed=seed) == draw(rows, per_class=per_class, seed=seed)


def test_another_seed_draws_other_rows():
    rows = rows_of({Stratum(label, None, "thumbs"): 1000 for label in (True, False)})

    one, two = (draw(rows, per_class=100, seed=seed).numbers for seed in (1, 2))

    assert len(one) == len(two) == 200
    assert len(one.keys() & two.keys()) < 60  # 20 are expected


def test_every_row_of_a_stratum_has_the_same_chance():
    rows = rows_of({Stratum(True, None, "thumbs"): 20})

    times = Counter(key for seed in range(2000) for key in draw(rows, per_class=5, seed=seed).numbers)

    # Binomial(2000, 1/4): 500 expected, standard deviation 19.4.
    assert all(400 <= times[key] <= 600 for _, key in rows)


def test_numbers_say_nothing_of_the_strata():
    rows = rows_of({Stratum(True, None, "thumbs"): 20_000, Stratum(True, None, "edit"): 200})

    sample = draw(rows, per_class=200, seed=3)

    rare = [sample.numbers[key] for stratum, key in rows if stratum.kind == "edit" and key in sample.numbers]
    assert min(rare) <= 190
    large = draw(
        rows_of({Stratum(label, None, "thumbs"): size for label, size in ((True, 9000), (False, 200))}),
        per_class=200,
        seed=4,
    )
    first_half = [key for key, number in large.numbers.items() if number <= 200]
    assert 70 <= sum(key.startswith("c0") for key in first_half) <= 130


def test_what_is_kept_of_a_large_project_are_a_few_ids_of_each_stratum():
    random = Random(0)
    kinds = ["thumbs"] * 90 + ["edit", "rating", "copy", "flag", "outcome"] * 2

    def rows() -> Iterator[tuple[Stratum, str]]:
        for number in range(30_000):
            yield Stratum(random.random() < 0.8, UUID(int=number % 4), random.choice(kinds)), f"completion-{number:07}"

    tracemalloc.start()
    sample = draw(rows(), per_class=20, seed=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(sample.numbers) == 2 * 20
    assert peak < 400_000  # bytes; the ids alone would take two million


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("thumbs_up", "thumbs"),
        ("edit_rewritten", "edit"),
        ("edited_text", "edit"),
        ("rating_low", "rating"),
        ("preferred", "preference"),
        ("not_preferred", "preference"),
        ("flag_severe", "flag"),
        ("outcome_ticket_reopened_true", "outcome"),
        ("regenerate", "regenerate"),
    ],
)
def test_a_reason_belongs_to_a_kind_of_signal(reason, kind):
    assert kind_of(reason) == kind


def test_a_class_with_more_strata_than_rows_to_draw_is_drawn_by_proportion_alone():
    sizes = {Stratum(True, UUID(int=number), "thumbs"): 1 for number in range(50)}
    sizes[Stratum(True, None, "thumbs")] = 50

    seats = shares(sizes, 10, seed=0)

    assert sum(seats.values()) == 10
    assert seats[Stratum(True, None, "thumbs")] == 5
