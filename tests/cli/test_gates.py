"""`thumbwheel gates`: files, presets, versions, and the decision about a checkpoint."""

import json
from uuid import UUID

import pytest
import yaml
from sqlalchemy import text
from thumbwheel import ApiError, wire

from app import services
from app.database import transaction
from app.gates.decide import decide
from app.gates.documents import adopted
from app.gates.presets import STANDARD
from tests.cli.conftest import CommandLine, in_this_process, on_a_screen

GATES = """\
name: support
minimum: {rows: 100}
rules:
  - {metric: auroc, compared_with: shipped, at_least: -0.05}
suites:
  - {suite: every, at_least: -0.05}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "gates.yaml"
    path.write_text(GATES)
    return path


def test_files_and_presets_are_checked_and_shown_without_a_server(file):
    nowhere = CommandLine(in_this_process, {"THUMBWHEEL_URL": f"http://127.0.0.1:{services.free_port()}"})

    assert nowhere("gates", "check", file).document["gates"]["rules"][0]["confidence"] == 0.95
    assert nowhere("gates", "check", "strict").document["gates"]["name"] == "strict"
    assert nowhere("gates", "show", "standard").document == STANDARD.model_dump(mode="json")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GATES.replace("auroc", "aurock"), "/rules/0/metric: there is no metric 'aurock'"),
        (GATES.replace("at_least: -0.05}\nsuites", "at_least: -5}\nsuites"), "/rules/0/at_least: -5 is outside"),
        (GATES.replace("minimum", "minimums"), "/minimums: Extra inputs"),
        ("name: x", "the document: has no rule"),
        ("name: [", "is not YAML: line 1"),
    ],
)
def test_a_fault_in_a_file_is_one_line_and_changes_nothing(cli, tmp_path, text, words):
    path = tmp_path / "gates.yaml"
    path.write_text(text)

    for command in ("check", "add", "adopt", "show"):
        assert words in cli.refused("gates", command, path)
    assert [item["version"] for item in cli("gates", "list").document] == [1]


def test_versions_are_stored_adopted_and_listed(cli, client, file):
    added = cli("gates", "add", file, "--note", "replies may not get worse").document
    assert (added["version"], added["adopted"], added["note"]) == (2, False, "replies may not get worse")
    assert cli("gates", "add", file).document == added

    entry = cli("gates", "adopt", "2", "--reason", "the preview was fine").document
    assert (entry["number"], entry["version"], entry["reason"]) == (2, 2, "the preview was fine")
    assert cli("gates", "show").document["document"]["name"] == "support"
    assert cli("projects", "show").document["gates"]["version"] == 2
    assert "adopted already" in cli.refused("gates", "adopt", "2")
    assert cli("gates", "adopt", "toy").document["version"] == 3
    assert [item["version"] for item in cli("gates", "history").document] == [3, 2, 1]
    assert [item.name for item in client.gates.presets()] == ["standard", "strict", "toy"]
    assert client.gates.adopted().document.name == client.gates.get(3).document.name == "toy"
    screen = on_a_screen(cli, "gates", "show", "2")
    assert yaml.safe_load(screen[screen.index("name: support\n") :])["minimum"] == {"rows": 100}


def test_a_project_is_created_with_gates_of_a_preset_or_a_file(cli, file):
    for project, gates, name in (("one", "strict", "strict"), ("two", file, "support")):
        created = cli("projects", "create", project, "--base-model", "/models/base", "--gates", gates).document
        assert (created["gates"]["document"]["name"], created["gates"]["version"]) == (name, 1)


def test_faulty_gates_over_http_are_a_problem_with_pointers(client):
    faulty = wire.GateDocument(name="x", rules=[wire.GateRule(metric="aurock", above=0)])

    with pytest.raises(ApiError) as refused:
        client.projects.change(wire.ProjectChange(gates=faulty))

    assert (refused.value.status, refused.value.code) == (422, "invalid_gates")
    assert [fault["pointer"] for fault in refused.value.problem["errors"]] == ["/gates/rules/0/metric"]


def test_the_decision_about_a_checkpoint_is_explained_rule_by_rule(cli, client, registered):
    checkpoint: UUID = registered(reasons=["rows: too few"])
    decision = decide(STANDARD, {"rows": 32, "auroc": {"value": 0.7, "low": 0.6, "high": 0.8}}, {"findings": []})
    document = {
        "gates": adopted(STANDARD, 4).model_dump(mode="json"),
        "decision": [row.model_dump(mode="json") for row in decision.rules],
    }
    with transaction() as session:
        session.execute(text("ALTER TABLE checkpoints DISABLE TRIGGER USER"))
        session.execute(
            text("UPDATE checkpoints SET manifest = manifest || CAST(:more AS jsonb) WHERE id = :id"),
            {"more": json.dumps(document), "id": checkpoint},
        )
        session.execute(text("ALTER TABLE checkpoints ENABLE TRIGGER USER"))

    explained = cli("gates", "explain", str(checkpoint)[-8:]).document

    assert explained["gates"] == {"name": "standard", "version": 4, "sha256": document["gates"]["sha256"]}
    assert explained["decision"][0] | {"reason": None} == {
        **wire.RuleDecision(
            rule="rows", metric="rows", compared_with="absolute", at_least=100, value=32, verdict="undecided"
        ).model_dump(mode="json")
    }
    screen = on_a_screen(cli, "gates", "explain", str(checkpoint))
    assert "auroc:shipped" in screen
    assert "standard, version 4" in screen
    line = cli.refused(
        "ship", str(checkpoint), "--override-reason", "a pilot of ten users", "--override-scope", "nothing"
    )
    assert "override_scope names 'nothing'" in line
    assert cli("ship", str(checkpoint), "--override-reason", "a pilot of ten users").document["override_scope"] == [
        row.rule for row in decision.rules if row.verdict != "passed"
    ]
    assert "a pilot of ten users" in on_a_screen(cli, "checkpoints", "show", str(checkpoint))
