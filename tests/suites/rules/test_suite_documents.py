"""Suite documents: one canonical form, and every fault names its path and its rule."""

import re

import pytest
from thumbwheel import wire

from app.bounded_yaml import load
from app.suites import own
from app.suites.documents import document_of, read, sha256_of
from tests.suites.suites import document

IS = {"type": "equals", "value": "x"}
AT = "/tests/0/assert/0"


@pytest.mark.parametrize(
    ("assertion", "pointer", "rule"),
    [
        ({"value": "x"}, f"{AT}/type", "Field required"),
        ({"type": "javascript", "value": "x"}, f"{AT}/type", "'javascript' is not a supported type.*use one of equals"),
        ({"type": "not-not-equals", "value": "x"}, f"{AT}/type", "not a supported type"),
        ({"type": "not-assert-set", "assert": [IS]}, f"{AT}/type", "not a supported type"),
        ({**IS, "provider": "gpt"}, f"{AT}/provider", "not permitted"),
        ({"type": "contains"}, f"{AT}/value", "is missing"),
        ({"type": "contains", "value": ""}, f"{AT}/value", "not a text"),
        ({"type": "contains", "value": "{{unknown}}"}, f"{AT}/value", "uses unknown"),
        ({"type": "contains", "value": "{{ word | upper }}"}, f"{AT}/value", "without filters"),
        ({"type": "contains", "value": "{% if word %}"}, f"{AT}/value", "without filters"),
        ({"type": "contains", "value": "{{empty}}"}, f"{AT}/value", "is empty"),
        ({"type": "contains-any", "value": "a, b"}, f"{AT}/value", "not a list of texts"),
        ({"type": "contains-all", "value": []}, f"{AT}/value", "not a list of texts"),
        ({"type": "contains-all", "value": [True]}, f"{AT}/value", "not a list of texts"),
        ({"type": "word-count", "value": {"min": 3, "max": 2}}, f"{AT}/value", "no output could pass"),
        ({"type": "word-count", "value": -1}, f"{AT}/value", "not a whole number"),
        ({"type": "character-count", "value": {}}, f"{AT}/value", "neither a number nor bounds"),
        ({"type": "is-refusal", "value": "no"}, f"{AT}/value", "leave it out"),
        ({"type": "is-json", "value": "schema"}, f"{AT}/value", "not a JSON schema"),
        ({"type": "is-json", "value": {"type": "text"}}, f"{AT}/value", "not a JSON schema"),
        ({"type": "is-json", "value": {"$ref": "http://127.0.0.1/s"}}, f"{AT}/value", "Retrieval is disabled"),
        ({"type": "is-json", "value": {"pattern": "(?=a)"}}, f"{AT}/value", "not a JSON schema"),
        ({"type": "regex", "value": "(?=a)b"}, f"{AT}/value", "no lookaround"),
        ({"type": "regex", "value": r"(a)\1"}, f"{AT}/value", "backreferences"),
        ({"type": "regex", "value": "x{1000}{1000}"}, f"{AT}/value", "not a pattern of RE2"),
        ({"type": "regex", "value": "{{open}}"}, f"{AT}/value", r"missing \)"),
        ({**IS, "threshold": 1}, f"{AT}/threshold", "no effect on equals"),
        ({"type": "similar", "value": "x", "threshold": 2}, f"{AT}/threshold", "above 1"),
        ({**IS, "weight": -1}, f"{AT}/weight", "greater than or equal to 0"),
        ({**IS, "weight": 0}, "/tests/0/assert", "no output could fail"),
        ({"type": "assert-set", "assert": []}, f"{AT}/assert", "at least 1 item"),
        ({"type": "assert-set", "assert": [{**IS, "weight": 0}]}, f"{AT}/assert", "no output could fail"),
        ({"type": "assert-set", "assert": [{"type": "regex", "value": "("}]}, f"{AT}/assert/0/value", "RE2"),
        ({"type": "assert-set", "assert": [{"type": "assert-set", "assert": [IS]}]}, AT, "not permitted|type"),
    ],
)  # fmt: skip
def test_a_fault_of_an_assertion_names_path_and_rule(assertion, pointer, rule):
    faults = read(document(assertion, vars={"word": "hello", "empty": "", "open": "("}))

    assert isinstance(faults, list)
    assert faults[0].pointer.startswith(pointer)
    assert re.search(rule, faults[0].message), faults[0].message


@pytest.mark.parametrize(
    ("change", "pointer", "rule"),
    [
        ({"prompts": []}, "/prompts", "at least 1 item"),
        ({"prompts": [{"label": "a", "prompt": "x"}] * 2}, "/prompts/0/label", "is there twice"),
        ({"prompts": ["{{other}}"]}, "/tests/0/vars", "lacks other, which the prompt '1' uses"),
        ({"prompts": [[{"role": "robot", "content": "x"}]]}, "/prompts/0/0/role", "'system'"),
        ({"tests": []}, "/tests", "at least 1 item"),
        ({"tests": [{"vars": {"word": "x"}}]}, "/tests/0/assert", "Field required"),
        ({"tests": [{"vars": {"a b": "x"}, "assert": [IS]}]}, "/tests/0/vars/a b", "pattern"),
        ({"tests": [{"vars": {"word": {}}, "assert": [IS]}]}, "/tests/0/vars/word", "valid"),
        ({"tests": [{"vars": {"word": "x"}, "assert": [IS], "threshold": 0}]}, "/tests/0/threshold", "greater than 0"),
        ({"tests": [{"vars": {"word": "x"}, "assert": [IS], "prompts": ["z"]}]}, "/tests/0/prompts/0", "label 'z'"),
        ({"prompts": ["{{word}}"] * 100, "tests": [{"vars": {"word": "x"}, "assert": [IS]}] * 101}, "/tests", "10,000"),
        ({"tool": 1}, "/tool", "not permitted"),
        ({"version": 0}, "/version", "greater than or equal to 1"),
    ],
)
def test_a_fault_of_a_suite_names_path_and_rule(change, pointer, rule):
    faults = read({**document(IS), **change})

    assert (faults[0].pointer, rule in faults[0].message) == (pointer, True), faults


@pytest.mark.parametrize("thing", [None, "text", 3, [], {"name": "x"}])
def test_what_is_no_suite_at_all_is_refused(thing):
    assert isinstance(read(thing), list)


def test_the_hash_names_the_content_and_not_the_way_in_which_it_is_written():
    short = read(document(IS))
    whole = read(document_of(short))

    assert isinstance(whole, wire.Suite)
    assert sha256_of(short) == sha256_of(whole)
    assert sha256_of(short) != sha256_of(read(document({**IS, "value": "y"})))


@pytest.mark.parametrize("name", own.names())
def test_our_suites_are_valid_and_have_twenty_to_thirty_tests(name):
    suite = read(load(own.text_of(name)))

    assert isinstance(suite, wire.Suite), suite
    assert suite.name == name
    assert 20 <= len(suite.tests) <= 30


def test_there_are_four_suites_of_our_own():
    assert own.names() == ["instruction-format", "invented-promises", "refusal", "sycophancy"]
