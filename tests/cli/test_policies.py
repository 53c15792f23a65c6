"""`thumbwheel policies`: files of policies, versions, previews and explanations."""

import json

import pytest
from thumbwheel import wire

from app import services
from tests.cli.conftest import CommandLine, in_this_process, on_a_screen

POLICY = """\
name: support
signals:
  outcome:
    ticket_solved:
      true: {label: desirable, unless: reopen, within_hours: 24}
      false: {label: undesirable, weight: 0.5}
    no: {}
  copy: null
"""


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


@pytest.fixture
def thumbs(client):
    client.feedback("c1", "ann", "up", prompt="Where is it?", completion="On its way.")
    client.feedback("c1", "bob", wire.Implicit(kind="copy"))
    client.feedback("c2", "ann", wire.Implicit(kind="copy"), prompt="And now?", completion="Still.")
    client.feedback("c2", "ann", wire.Outcome(name="escalated", value=True))


def test_a_policy_is_checked_without_a_server(policy):
    nowhere = CommandLine(in_this_process, {"THUMBWHEEL_URL": f"http://127.0.0.1:{services.free_port()}"})

    done = nowhere("policies", "check", policy)

    assert done.code == 0, done.err
    outcomes = done.document["policy"]["signals"]["outcome"]
    # YAML's true and false are the two values of an outcome; its `no` is a name.
    assert set(outcomes) == {"ticket_solved", "no"}
    assert outcomes["ticket_solved"]["false"] == {
        "label": "undesirable",
        "weight": 0.5,
        "unless": None,
        "within_hours": 24.0,
    }
    assert len(done.document["sha256"]) == 64


def test_json_says_the_same_as_yaml(cli, policy, tmp_path):
    as_json = tmp_path / "policy.json"
    as_json.write_text(json.dumps(cli("policies", "check", policy).document["policy"]))

    assert cli("policies", "check", as_json).document == cli("policies", "check", policy).document


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("precedence: [thumbs]", "/precedence: lacks edit"),
        ("signals: {reject: {label: undesirable, unless: reject}}", "/signals/reject: would be taken away"),
        ("guards: {influence: {actor: {share: 0.1, rows: 0.5}}}", "/guards/influence/actor/rows: is below one row"),
        ("signals: {copy: yes}", "/signals/copy"),
        ("name: a\nname: b", "line 2: name is there twice"),
        ("name: [", "is not YAML: line 1"),
        ("? [a]\n: 1", "a key is not text"),
        ("", "the document: "),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(cli, tmp_path, text, said):
    path = tmp_path / "policy.yaml"
    path.write_text(text)

    assert said in cli.refused("policies", "check", path)
    assert said in cli.refused("policies", "create", path)
    assert [item["version"] for item in cli("policies", "list").document] == [0]


def test_a_file_that_cannot_be_read_is_one_line(cli, tmp_path):
    (tmp_path / "policy.json").write_text("name: x")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff")

    assert "No such file" in cli.refused("policies", "check", tmp_path / "nothing.yaml")
    assert "is not JSON" in cli.refused("policies", "check", tmp_path / "policy.json")
    assert "not UTF-8" in cli.refused("policies", "check", tmp_path / "bytes.yaml")
    assert "No such file" in cli.refused("policies", "preview", "1.5")


def test_versions_are_made_adopted_and_listed(cli, policy):
    created = cli("policies", "create", policy, "--note", "outcomes count")
    assert (created.document["version"], created.document["adopted"], created.document["note"]) == (
        1,
        False,
        "outcomes count",
    )
    assert cli("policies", "create", policy).document == created.document

    adopted = cli("policies", "adopt", "1", "--reason", "the preview was fine").document
    assert (adopted["number"], adopted["version"], adopted["reason"]) == (1, 1, "the preview was fine")
    assert cli("policies", "show").document["version"] == 1
    assert cli("policies", "show", "0").document["policy"]["name"] == "default"
    assert [item["adopted"] for item in cli("policies", "list").document] == [True, False]
    assert [item["version"] for item in cli("policies", "adoptions").document] == [1]
    assert "adopted already" in cli.refused("policies", "adopt", "1")
    assert "no label policy 5" in cli.refused("policies", "show", "5")


def test_a_preview_of_a_file_or_a_version_is_whole_to_a_pipe(cli, policy, thumbs):
    of_file = cli("policies", "preview", policy, "--days", "1").document
    cli("policies", "create", policy)
    of_version = cli("policies", "preview", "1", "--days", "1").document

    assert of_file["flips"] == of_version["flips"]
    [flip] = [flip for flip in of_file["flips"] if flip["before"] != flip["after"]]
    assert (flip["before"], flip["after"], flip["completions"]) == ("desirable", "nothing", 1)
    assert flip["examples"][0]["completion_id"] == "c2"
    assert {(line["kind"], line["detail"]) for line in of_file["unheard"]} == {("outcome", "escalated"), ("copy", None)}
    assert "not the id of a snapshot" in cli.refused("policies", "preview", "1", "--snapshot", "abc")


def test_a_label_is_explained(cli, thumbs):
    explanation = cli("policies", "explain", "c1").document

    assert (explanation["label"], explanation["reasons"]) == ("desirable", ["thumbs_up", "copy"])
    assert "Completion c9 has no feedback yet" in cli.refused("policies", "explain", "c9")


def test_a_terminal_gets_tables_of_what_changes(cli, policy, thumbs):
    shown = on_a_screen(cli, "policies", "preview", policy)

    for heading in ("Rows", "Signals", "Reasons", "Flipped labels", "desirable → nothing: 1", "Signals without a rule"):
        assert heading in shown
    assert "copy → –" in shown
    assert "Still." in shown


def test_a_terminal_gets_an_explanation_in_words(cli, thumbs):
    shown = on_a_screen(cli, "policies", "explain", "c1")

    assert "completion c1 is desirable at weight 1" in shown
    assert "thumbs_up" in shown


def test_a_terminal_gets_a_policy_as_yaml_that_can_be_edited(cli, policy, tmp_path):
    cli("policies", "create", policy)
    shown = on_a_screen(cli, "policies", "show", "1")

    edited = tmp_path / "edited.yaml"
    edited.write_text(shown[shown.index("name: support") :])
    again = cli("policies", "create", edited).document
    assert (again["version"], again["policy"]["name"]) == (1, "support")
