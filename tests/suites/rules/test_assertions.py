"""Every type of assertion judges outputs as promptfoo's documentation says, and never waits on a pattern."""

import pytest
from thumbwheel.wire.suites import FORMS

from app.suites.assertions import NO_EMBEDDINGS, NO_JUDGE, Evidence, grade, texts_to_embed
from tests.suites.suites import test_of

SCHEMA = {"type": "object", "required": ["a"]}

CASES = [
    ({"type": "equals", "value": "Hello"}, ["Hello"], ["hello", "Hello ", ""]),
    ({"type": "equals", "value": 4}, ["4"], ["4.0", "four"]),
    ({"type": "equals", "value": {"a": [1, True]}}, ['{"a": [1, true]}'], ['{"a": [1, 1]}', "a", '{"a": [1]}']),
    ({"type": "contains", "value": "ell"}, ["Hello"], ["HELLO", ""]),
    ({"type": "contains", "value": 30}, ["30 days"], ["thirty"]),
    ({"type": "contains-any", "value": ["a", "b"]}, ["b"], ["A", "c"]),
    ({"type": "contains-all", "value": ["a", "b"]}, ["ba"], ["a", "AB"]),
    ({"type": "icontains", "value": "ELL"}, ["Hello", "hELLo"], ["Hi"]),
    ({"type": "icontains-any", "value": ["X", "ell"]}, ["HELLO"], ["Hi"]),
    ({"type": "icontains-all", "value": ["H", "ELL"]}, ["hello"], ["ell"]),
    ({"type": "starts-with", "value": "He"}, ["Hello"], ["hello", "oHe"]),
    ({"type": "ends-with", "value": "lo"}, ["Hello"], ["HELLO", "loH"]),
    ({"type": "regex", "value": r"^\d{3}$"}, ["123"], ["1234", "a123"]),
    ({"type": "is-json"}, ['{"a": 1}', "3", " [1] "], ["{a: 1}", "", "NaN", "```json\n{}\n```", "9" * 5000]),
    ({"type": "is-json", "value": SCHEMA}, ['{"a": 1}'], ['{"b": 1}', "[]", "x"]),
    ({"type": "contains-json"}, ["Here: {} ok", "a [1, 2]"], ["no", "{broken", "3"]),
    ({"type": "contains-json", "value": SCHEMA}, ['{} then {"a": 1}', '```json\n{"a": 1}\n```'], ['{"b": 1}', "[1]"]),
    ({"type": "word-count", "value": 2}, ["two words", " two\n words "], ["one", "three words here", ""]),
    ({"type": "word-count", "value": {"min": 2, "max": 3}}, ["a b", "a b c"], ["a", "a b c d"]),
    ({"type": "word-count", "value": {"min": 2}}, ["a b c d"], ["a"]),
    ({"type": "character-count", "value": {"max": 3}}, ["äöü", "👍👍👍", ""], ["abcd"]),
    ({"type": "levenshtein", "value": "kitten", "threshold": 3}, ["sitting", "kitten"], ["dog", ""]),
    ({"type": "levenshtein", "value": "kitten"}, ["sit"], ["something else"]),
]


@pytest.mark.parametrize(
    ("assertion", "passing", "failing"), CASES, ids=lambda item: item.get("type", "") if isinstance(item, dict) else ""
)
def test_an_assertion_passes_and_fails_and_its_negation_does_the_opposite(assertion, passing, failing):
    plain = test_of(assertion).assertions[0]
    negated = test_of({**assertion, "type": f"not-{assertion['type']}"}).assertions[0]

    for output in [*passing, *failing]:
        expected = "passed" if output in passing else "failed"
        graded, inverse = grade(plain, output, {}), grade(negated, output, {})
        assert (graded.verdict, inverse.verdict) == (expected, "failed" if output in passing else "passed"), output
        assert (graded.score, inverse.score) == ((1, 0) if output in passing else (0, 1))
        assert graded.reason


def test_every_supported_type_has_a_case():
    tested = {assertion["type"] for assertion, *_ in CASES}

    assert set(FORMS) - tested == {"is-refusal", "similar", "llm-rubric", "factuality"}


def test_variables_are_filled_into_values_once():
    assertion = test_of(
        {"type": "contains-all", "value": ["{{a}}", "{{ b }}", "{{c}}"]},
        vars={"word": "", "a": "{{b}}", "b": 3, "c": True},
    ).assertions[0]

    assert grade(assertion, "{{b}} 3 true", {"a": "{{b}}", "b": 3, "c": True}).verdict == "passed"


@pytest.mark.parametrize("kind", ["is-refusal", "not-is-refusal"])
def test_an_empty_output_neither_refuses_nor_answers(kind):
    graded = grade(test_of({"type": kind}).assertions[0], " \n", {})

    assert (graded.verdict, graded.score) == ("failed", 0)


@pytest.mark.parametrize("kind", ["llm-rubric", "factuality", "not-llm-rubric"])
def test_what_needs_a_judge_is_undecided_without_one(kind):
    graded = grade(test_of({"type": kind, "value": "is polite"}).assertions[0], "Hello", {})

    assert (graded.verdict, graded.score, graded.reason) == ("undecided", None, NO_JUDGE)


def test_similar_compares_by_the_cosine_and_is_undecided_without_embeddings():
    similar = test_of({"type": "similar", "value": ["x", "y"], "threshold": 0.9}).assertions[0]
    negated = test_of({"type": "not-similar", "value": "x", "threshold": 0.9}).assertions[0]
    vectors = Evidence({"out": [1.0, 0.0], "x": [0.0, 1.0], "y": [2.0, 0.0], "zero": [0.0, 0.0]})

    assert texts_to_embed(similar, "out", {}) == ["out", "x", "y"]
    assert (grade(similar, "out", {}, vectors).verdict, grade(similar, "out", {}, vectors).score) == ("passed", 1)
    assert (grade(negated, "out", {}, vectors).verdict, grade(negated, "x", {}, vectors).verdict) == (
        "passed",
        "failed",
    )
    assert grade(similar, "out", {}).reason == NO_EMBEDDINGS
    for output in ("unknown", "zero"):
        assert grade(similar, output, {}, vectors).verdict == "undecided"


@pytest.mark.parametrize("length", [10_000, 200_000])
def test_a_pattern_that_would_backtrack_is_matched_in_linear_time(length):
    pattern = test_of({"type": "regex", "value": "^(a+)+$"}).assertions[0]
    schema = test_of({"type": "is-json", "value": {"type": "string", "pattern": "^(a|aa)+$"}}).assertions[0]

    assert grade(pattern, "a" * length + "b", {}).verdict == "failed"
    assert grade(schema, '"' + "a" * length + 'b"', {}).verdict == "failed"


@pytest.mark.parametrize("output", ["[" * 200_000, '{"a":' * 40_000, "[1," * 60_000], ids=lambda text: text[:5])
def test_an_output_of_brackets_alone_does_not_hold_up_a_search_for_json(output):
    graded = grade(test_of({"type": "contains-json"}).assertions[0], output, {})

    assert (graded.verdict, "too many brackets" in graded.reason) == ("undecided", True)


def test_a_schema_that_refers_to_itself_ends():
    tree = {"$defs": {"t": {"properties": {"in": {"$ref": "#/$defs/t"}}}}, "$ref": "#/$defs/t"}
    assertion = test_of({"type": "is-json", "value": tree}).assertions[0]

    assert grade(assertion, '{"in": {"in": {}}}', {}).verdict == "passed"
