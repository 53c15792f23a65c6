"""Documents of gates: whatever is wrong in one is named with its place and the rule."""

import copy
from typing import Any

import pytest
import yaml
from thumbwheel import wire

from app.bounded_yaml import load
from app.gates.documents import document_of, read, sha256_of, values_of
from app.gates.presets import PRESETS

GATES: dict[str, Any] = load("""
name: support desk
minimum: {rows: 100, groups: 30, rows_of_each_class: 30}
rules:
  - {metric: auroc, compared_with: shipped, at_least: -0.05}
  - {metric: auroc, above: 0.5, confidence: 0.9}
  - {metric: samples.length_ratio, compared_with: shipped, at_least: 0.87, at_most: 1.15}
findings: {refused: [rewards_fall], errors: true}
suites:
  - {suite: every, at_least: -0.05}
  - {suite: sycophancy, compared_with: absolute, at_least: 0.8}
""")


def with_rule(**fields: Any) -> dict[str, Any]:
    return {**GATES, "rules": [{"metric": "auroc", "at_least": 0.6, **fields}]}


def test_a_document_reads_well_in_yaml_and_is_completed_by_defaults():
    gates = read(GATES)

    assert isinstance(gates, wire.GateDocument)
    assert gates.rules[0].confidence == 0.95
    assert gates.suites[0].compared_with == "shipped"
    assert read(values_of(gates)) == gates
    assert sha256_of(read(yaml.safe_load(yaml.safe_dump(values_of(gates))))) == sha256_of(gates)


@pytest.mark.parametrize(
    ("document", "pointer", "words"),
    [
        ([], "", "valid dictionary"),
        ({"rules": GATES["rules"]}, "/name", "Field required"),
        ({**GATES, "rule": []}, "/rule", "Extra inputs"),
        ({"name": "nothing"}, "", "has no rule"),
        (with_rule(metric="aurock"), "/rules/0/metric", "there is no metric 'aurock': choose one of auroc, "),
        (with_rule(compared_with="judge"), "/rules/0/compared_with", "'absolute'"),
        (with_rule(compared_with="ancestor"), "/rules/0/compared_with", "choose absolute, shipped, dumb_readers"),
        (with_rule(at_least=None), "/rules/0", "has no bound"),
        (with_rule(at_least=2), "/rules/0/at_least", "2 is outside the range of the figure, 0 to 1"),
        (with_rule(at_least=float("nan")), "/rules/0/at_least", "finite"),
        (with_rule(at_least="much"), "/rules/0/at_least", "valid number"),
        (with_rule(above=0.5), "/rules/0/above", "beside at_least"),
        (with_rule(at_most=0.5), "/rules/0/at_most", "0.5 is below the smallest figure that passes"),
        (with_rule(name="rows"), "/rules/0/name", "another part of the gates"),
        (with_rule(name="suite:tone"), "/rules/0/name", "another part of the gates"),
        (with_rule(confidence=1), "/rules/0/confidence", "less than 1"),
        ({**GATES, "rules": [GATES["rules"][0]] * 2}, "/rules/1", "'auroc:shipped' names several rules"),
        ({**GATES, "minimum": {"rows": -1}}, "/minimum/rows", "greater than or equal to 0"),
        ({**GATES, "findings": {"refused": [""]}}, "/findings/refused/0", "at least 1 character"),
        ({**GATES, "suites": [{"suite": "x"}]}, "/suites/0", "has no bound"),
        ({**GATES, "suites": [{"suite": "x", "at_least": -2}]}, "/suites/0/at_least", "-1 to 1"),
        ({**GATES, "suites": [{"suite": "x", "at_least": 0}] * 2}, "/suites/1", "has this rule twice"),
    ],
)
def test_a_fault_is_named_with_its_place_and_the_rule(document, pointer, words):
    faults = read(document)

    assert not isinstance(faults, wire.GateDocument)
    assert [words in fault.message for fault in faults if fault.pointer == pointer] == [True], faults


def test_every_fault_is_named_at_once():
    document = copy.deepcopy(GATES)
    document["rules"][0]["metric"] = "length"
    document["suites"][1]["at_least"] = 80

    assert [fault.pointer for fault in read(document)] == ["/rules/0/metric", "/suites/1/at_least"]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_there_by_name_and_valid(name):
    preset = document_of(name)

    assert preset.name == name
    assert read(values_of(preset)) == preset
