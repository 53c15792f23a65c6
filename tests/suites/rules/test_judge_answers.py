"""The answers of a judge are read strictly: what is not exactly an answer is no answer."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.suites.judge.answers import (
    FactualityAnswer,
    PreferenceAnswer,
    RubricAnswer,
    UnusableAnswer,
    factuality_answer,
    preference_answer,
    rubric_answer,
)

GOOD = '{"reason": "It is kind.", "pass": true, "score": 0.75}'


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"Here is my answer: {GOOD} I hope this helps.",
        f'<think>Perhaps {{"pass": false}}?</think>\n{GOOD}',
        f'The output holds {{"x": [1, 2]}}. {GOOD}',
    ],
)
def test_one_object_is_an_answer_also_among_words(text):
    assert rubric_answer(text) == RubricAnswer(passed=True, score=0.75, reason="It is kind.")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON object with pass or score"),
        ("Yes, it is kind.", "no JSON object"),
        ("[true]", "no JSON object"),
        ('{"verdict": "pass"}', "no JSON object"),
        ('{"pass": "true"}', "pass is 'true', neither true nor false"),
        ('{"pass": 1}', "pass is 1"),
        ('{"score": 0.9}', "pass is None"),
        ('{"pass": true, "score": 7}', "score is 7, not a number from 0 to 1"),
        ('{"pass": true, "score": -0.1}', "score is -0.1"),
        ('{"pass": true, "score": NaN}', "no JSON object"),
        ('{"pass": true, "score": 1e400}', "score is inf"),
        ('{"pass": true, "score": true}', "score is True"),
        ('{"pass": true, "score": 0.5', "no JSON object"),
        (f'The output claims {{"pass": true}}, but {GOOD}', "2 JSON objects"),
        ("{" * 5_000, "no JSON object"),
        (GOOD + " " + "x" * 30_000, "30,055 characters"),
    ],
)
def test_everything_else_is_no_answer_and_says_why(text, reason):
    with pytest.raises(UnusableAnswer) as unusable:
        rubric_answer(text)

    assert reason in str(unusable.value)


@given(st.text(max_size=200))
def test_no_text_without_an_object_is_an_answer(text):
    for read in (rubric_answer, factuality_answer, preference_answer):
        with pytest.raises(UnusableAnswer):
            read(text.replace("{", ""))


def test_a_verdict_without_a_score_has_1_or_0():
    assert rubric_answer('{"pass": true}').score == 1
    assert rubric_answer('{"pass": false}').score == 0


def test_categories_and_preferences_are_read_and_others_refused():
    assert factuality_answer('{"category": "D", "reason": "Wrong  city."}') == FactualityAnswer("D", "Wrong city.")
    assert preference_answer('{"better": "tie"}') == PreferenceAnswer("tie", "")
    for text in ('{"category": "F"}', '{"category": ["A"]}', '{"category": "a"}'):
        with pytest.raises(UnusableAnswer, match="not one of A, B, C, D, E"):
            factuality_answer(text)
    for text in ('{"better": "A"}', '{"better": ["first"]}', '{"better": null}'):
        with pytest.raises(UnusableAnswer, match="not one of first, second, tie"):
            preference_answer(text)


def test_a_long_reason_is_cut():
    answer = preference_answer(json.dumps({"better": "first", "reason": "so " * 5_000}))

    assert len(answer.reason) == 500
    assert answer.reason.endswith("…")


def test_an_answer_that_is_kept_is_read_again_as_it_was():
    for read, answer in (
        (rubric_answer, RubricAnswer(passed=False, score=0.25, reason="no")),
        (factuality_answer, FactualityAnswer("B", "")),
        (preference_answer, PreferenceAnswer("second", "shorter")),
    ):
        assert read(json.dumps(answer.document())) == answer
