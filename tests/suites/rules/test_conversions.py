"""Files of promptfoo and OpenAI evals become suites; what has no counterpart is named with its place."""

import json

import pytest
from thumbwheel import wire

from app.bounded_yaml import load
from app.errors import Invalid
from app.suites.documents import read
from app.suites.importing import openai_evals
from app.suites.importing.files import imported

IS = [{"type": "equals", "value": "x"}]


@pytest.fixture
def converted(tmp_path):
    """A function: converts a configuration, with files beside it; returns the suite's document and the losses."""

    def convert(config, **files):
        for name, text in files.items():
            (tmp_path / name.replace("__", ".")).write_text(text)
        file = tmp_path / "promptfooconfig.yaml"
        file.write_text(json.dumps(config))
        result = imported(file, None, contains=False)
        document = load(result.text)
        assert isinstance(read(document), wire.Suite)
        return document, {loss.pointer: loss.message for loss in result.losses}

    return convert


def test_default_tests_variables_lists_and_files_are_merged_as_promptfoo_does(converted):
    document, losses = converted(
        {
            "description": "Bot",
            "providers": ["openai:gpt-4o-mini"],
            "prompts": ["file://chat.json", "file://two.txt", {"raw": "Plain {{q}}", "label": "plain"}],
            "defaultTest": {"vars": {"tone": "kind"}, "assert": [{"type": "not-is-refusal"}], "threshold": 0.5},
            "tests": [
                {"vars": {"q": ["a", "b"]}, "assert": [{"type": "contains-any", "value": 'x, "y, z"'}]},
                {"vars": {"q": "file://q.txt", "tone": 1}, "assert": IS, "threshold": 1},
                "file://more.yaml",
            ],
            "scenarios": [{"config": [{"vars": {"q": "s"}}, {"vars": {"q": "t"}}], "tests": [{"assert": IS}]}],
        },
        chat__json='[{"role": "system", "content": "Be {{tone}}"}, {"role": "user", "content": "{{q}}"}]',
        two__txt="First {{q}}\n---\nSecond {{q}}\n",
        q__txt="from a file\n",
        more__yaml="- vars: {q: more}\n  assert: [{type: is-json, value: 'type: object'}]\n",
    )

    assert losses == {}
    assert (document["name"], document["description"]) == ("promptfooconfig", "Bot")
    assert [prompt["label"] for prompt in document["prompts"]] == ["1", "2-1", "2-2", "plain"]
    assert document["prompts"][0]["prompt"][0] == {"role": "system", "content": "Be {{tone}}"}
    tests = document["tests"]
    assert [test["vars"]["q"] for test in tests] == ["a", "b", "from a file", "more", "s", "t"]
    assert [test["vars"]["tone"] for test in tests] == ["kind", "kind", 1, "kind", "kind", "kind"]
    assert [test["threshold"] for test in tests] == [0.5, 0.5, 1, 0.5, 0.5, 0.5]
    assert all(test["assert"][0] == {"type": "not-is-refusal"} for test in tests)
    assert tests[0]["assert"][1] == {"type": "contains-any", "value": ["x", "y, z"]}
    assert tests[3]["assert"][1] == {"type": "is-json", "value": {"type": "object"}}


@pytest.mark.parametrize(
    ("test", "place", "message"),
    [
        ({"assert": [*IS, {"type": "javascript", "value": "1"}]}, "/tests/1/assert/1/type", "'javascript' is not"),
        ({"assert": [*IS, {"type": "regex", "value": "(?=a)"}]}, "/tests/1/assert/1/value", "no lookaround"),
        ({"assert": [*IS, {**IS[0], "threshold": 2}]}, "/tests/1/assert/1/threshold", "converted without it"),
        ({"assert": [*IS, {**IS[0], "transform": "x"}]}, "/tests/1/assert/1/transform", "assertion is left out"),
        ({"assert": [*IS, {**IS[0], "value": "file://none.txt"}]}, "/tests/1/assert/1/value", "cannot be read"),
        ({"assert": [*IS, {**IS[0], "value": "file://check.py"}]}, "/tests/1/assert/1/value", "no program is run"),
        ({"assert": [*IS, {"type": "contains", "value": "{{ q | upper }}"}]}, "/tests/1/assert/1/value", "filters"),
        ({"assert": IS, "options": {"transform": "x"}}, "/tests/1/options", "the test is left out"),
        ({"assert": IS, "vars": {"q": {"a": 1}}}, "/tests/1/vars/q", "object or a list"),
        ({"assert": IS, "vars": {"q": "{{other}}"}}, "/tests/1/vars/q", "template of its own"),
        ({"assert": IS, "vars": {"a": list(range(40)), "b": list(range(40))}}, "/tests/1/vars", "1,600 tests"),
        ({"assert": IS, "vars": {"other": "x"}}, "/tests/1/vars", "lacks q"),
        ({"assert": []}, "/tests/1", "any output would pass"),
        ({"assert": "file://x"}, "/tests/1/assert", "not a list"),
        ("file://none.csv", "/tests/1", "is a table"),
        (3, "/tests/1", "not a mapping"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_what_has_no_counterpart_is_named_with_its_place_and_the_rest_is_converted(converted, test, place, message):
    test = {"vars": {"q": "x"}, **test} if isinstance(test, dict) else test
    document, losses = converted({"prompts": ["{{q}}"], "tests": [{"vars": {"q": "y"}, "assert": IS}, test]})

    assert next(iter(losses)) == place
    assert message in losses[place]
    assert document["tests"][0] == {"vars": {"q": "y"}, "assert": IS}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("text", "no mapping"),
        ({"tests": [{"assert": IS}]}, "no prompt could be converted"),
        ({"prompts": ["file://x.py"], "tests": [{"assert": IS}]}, "no program is run"),
        ({"prompts": ["x"], "tests": []}, "the file has none"),
    ],
)
def test_a_configuration_without_a_test_that_can_be_converted_is_refused(converted, config, message):
    with pytest.raises(Invalid, match=message):
        converted(config)


def test_lines_of_openai_evals_share_prompts_by_their_roles():
    chat = [{"role": "system", "content": "Be brief {{x}}"}, {"role": "user", "content": "2+2?"}]
    lines = [
        json.dumps({"input": chat, "ideal": "4"}),
        json.dumps({"input": "Capital?", "ideal": ["Paris", "paris"]}),
        json.dumps({"input": [{**chat[0], "content": "y"}, chat[1]], "ideal": "{{4}}"}),
        "nonsense",
        json.dumps({"input": 3, "ideal": "x"}),
        json.dumps({"input": "x"}),
    ]

    result = openai_evals.convert("\n".join(lines), "evals", contains=False)
    suite = read(load(result.text))

    assert isinstance(suite, wire.Suite)
    assert [len(prompt.prompt) for prompt in suite.prompts] == [2, 1]
    assert [test.prompts for test in suite.tests] == [["1"], ["2"], ["1"]]
    assert suite.tests[0].vars == {"message_1": "Be brief {{x}}", "message_2": "2+2?", "ideal_1": "4"}
    assert suite.tests[1].assertions[0].threshold == 0.5
    assert [loss.pointer for loss in result.losses] == ["line 4", "line 5", "line 6"]


def test_an_ideal_answer_may_be_contained():
    result = openai_evals.convert('{"input": "x", "ideal": ["a", "b"]}', "evals", contains=True)

    assert load(result.text)["tests"][0]["assert"] == [
        {"type": "contains-any", "value": ["{{ideal_1}}", "{{ideal_2}}"]}
    ]
