"""Weights, thresholds and sets, with parts that are undecided."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.suites.grading import grade_test, scores_by_metric, undecided_test
from tests.suites.suites import test_of

YES = {"type": "contains", "value": "x"}
NO = {"type": "contains", "value": "y"}
OPEN = {"type": "llm-rubric", "value": "is good"}


def verdict(*assertions, **test):
    graded = grade_test(test_of(*assertions, **test), "x").graded
    return graded.verdict, graded.score


@pytest.mark.parametrize(
    ("assertions", "test", "expected"),
    [
        ([YES, YES], {}, ("passed", 1)),
        ([YES, NO], {}, ("failed", 0.5)),
        ([{**YES, "weight": 3}, NO], {}, ("failed", 0.75)),
        ([YES, {**NO, "weight": 0}], {}, ("passed", 1)),
        ([YES, NO], {"threshold": 0.5}, ("passed", 0.5)),
        ([YES, NO], {"threshold": 0.51}, ("failed", 0.5)),
        ([{**YES, "weight": 3}, NO], {"threshold": 0.75}, ("passed", 0.75)),
        ([{"type": "assert-set", "assert": [YES, NO], "threshold": 0.5}], {}, ("passed", 0.5)),
        ([{"type": "assert-set", "assert": [YES, NO]}, YES], {}, ("failed", 0.75)),
        ([YES, OPEN], {}, ("undecided", None)),
        ([NO, OPEN], {}, ("failed", None)),
        ([YES, {**OPEN, "weight": 0}], {}, ("passed", 1)),
        ([YES, OPEN], {"threshold": 0.5}, ("passed", None)),
        ([NO, OPEN], {"threshold": 0.6}, ("failed", None)),
        ([YES, OPEN], {"threshold": 0.6}, ("undecided", None)),
        ([{"type": "assert-set", "assert": [YES, OPEN], "threshold": 0.5}], {}, ("passed", None)),
    ],
)
def test_a_test_is_decided_by_weights_and_thresholds(assertions, test, expected):
    assert verdict(*assertions, **test) == expected


KINDS = {"yes": YES, "no": NO, "open": OPEN}


@given(
    st.lists(st.tuples(st.sampled_from(list(KINDS)), st.integers(1, 3)), min_size=1, max_size=5),
    st.none() | st.sampled_from([0.25, 0.5, 0.75, 1.0]),
)
def test_a_decided_verdict_holds_whatever_the_undecided_parts_turn_out_to_be(parts, threshold):
    def of(outcome):
        assertions = [{**KINDS[outcome if kind == "open" else kind], "weight": weight} for kind, weight in parts]
        return verdict(*assertions, **({} if threshold is None else {"threshold": threshold}))[0]

    if of("open") != "undecided":
        assert of("open") == of("yes") == of("no")
    elif threshold is not None:
        assert {of("yes"), of("no")} == {"passed", "failed"}


def test_an_output_that_could_not_be_had_leaves_every_assertion_undecided():
    test = test_of({**YES, "metric": "m"}, {"type": "assert-set", "assert": [{**NO, "metric": "n"}]})
    graded = undecided_test(test, "no answer")

    assert (graded.graded.verdict, graded.graded.score) == ("undecided", None)
    assert list(scores_by_metric(graded.assertions)) == [("m", None), ("n", None)]
