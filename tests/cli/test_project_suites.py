"""`thumbwheel suites` and `thumbwheel checkpoints suites` with a project: versions, adoption, outcomes."""

import json

import pytest
import yaml

from app import artifacts, services
from app.suites import own
from app.suites.outcomes_file import OUTCOMES, write_outcomes
from tests.cli.conftest import CommandLine, in_this_process, on_a_screen

SUITE = {
    "name": "desk",
    "prompts": ["{{q}}"],
    "tests": [{"vars": {"q": "Open?"}, "assert": [{"type": "icontains", "value": "yes"}]}],
}


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "suite.json"
    path.write_text(json.dumps(SUITE))
    return path


def test_a_suite_is_added_adopted_listed_shown_and_dropped(cli, suite):
    added = cli("suites", "add", suite, "--note", "opening hours").document
    again = cli("suites", "add", suite).document
    adopted = cli("suites", "adopt", "desk", "--reason", "agreed").document

    assert again == added
    assert (added["version"], added["adopted"]) == (1, False)
    assert (adopted["version"], adopted["reason"]) == (1, "agreed")
    listed = cli("suites", "list").document
    assert [(item["name"], item["version"], item["adopted"]) for item in listed] == [
        ("desk", 1, True),
        *((name, 0, False) for name in own.names()),
    ]
    assert [item["name"] for item in cli("suites", "adopted").document] == ["desk"]
    assert yaml.safe_load(cli("suites", "show", "desk").out)["tests"][0]["vars"] == {"q": "Open?"}
    assert yaml.safe_load(cli("suites", "show", "refusal@0").out)["name"] == "refusal"

    assert cli("suites", "drop", "desk", "--reason", "outdated").document["version"] is None
    assert cli("suites", "adopt", "refusal@0").document["version"] == 0
    ledger = cli("suites", "history").document
    assert [(item["name"], item["version"]) for item in ledger] == [("refusal", 0), ("desk", None), ("desk", 1)]


def test_what_does_not_exist_or_changes_nothing_is_one_line_and_exit_code_2(cli, suite):
    cli("suites", "add", suite)

    for command, line in (
        (("adopt", "desk@7"), "its versions are 1"),
        (("adopt", "unheard"), "use one of desk, instruction-format"),
        (("drop", "desk"), "The suite 'desk' is not adopted (adopted: none)."),
        (("show", "unheard"), "use one of desk"),
    ):
        done = cli("suites", *command)
        assert (done.code, len(done.err.splitlines())) == (2, 1), done
        assert line in done.err


def test_an_invalid_suite_is_refused_before_anything_is_sent(suite):
    suite.write_text(json.dumps({**SUITE, "prompts": ["{{other}}"]}))
    nowhere = CommandLine(in_this_process, {"THUMBWHEEL_URL": f"http://127.0.0.1:{services.free_port()}"})

    done = nowhere("suites", "add", suite)

    assert done.code == 2
    assert "/tests/0/vars: lacks other" in done.err


def test_without_a_key_or_with_own_no_server_is_asked():
    nowhere = {"THUMBWHEEL_URL": f"http://127.0.0.1:{services.free_port()}"}
    without_key = CommandLine(in_this_process, nowhere)
    with_key = CommandLine(in_this_process, {**nowhere, "THUMBWHEEL_API_KEY": "tw_0"})

    assert [item["name"] for item in without_key("suites", "list").document] == own.names()
    assert [item["name"] for item in with_key("suites", "list", "--own").document] == own.names()
    assert with_key("suites", "show", "refusal", "--own").out == own.text_of("refusal")


def test_a_project_begins_with_the_suites_that_are_named(cli):
    base = ("--base-model", "/models/base")
    assert cli("projects", "create", "all", *base).code == 0
    assert cli("projects", "create", "some", *base, "--suite", "refusal").code == 0
    assert cli("projects", "create", "none", *base, "--no-suites").code == 0
    both = cli("projects", "create", "both", *base, "--no-suites", "--suite", "refusal")

    adopted = {name: cli("suites", "adopted", "-p", name).document for name in ("all", "some", "none")}
    assert [item["name"] for item in adopted["all"]] == own.names()
    assert [item["name"] for item in adopted["some"]] == ["refusal"]
    assert adopted["none"] == []
    assert both.code == 2


def test_the_figures_and_outputs_of_a_checkpoint_are_shown(cli, registered, tmp_path):
    passed = {"output": "yes", "cut_off": False, "verdict": "passed", "score": 1.0, "reason": "fine"}
    failed = {**passed, "output": "no\nway", "verdict": "failed", "score": 0.0, "reason": "it lacks yes"}
    test = {"description": "", "prompt_label": "1", "shipped": passed, "ancestor": passed}
    write_outcomes(tmp_path / OUTCOMES, {"desk": [{"test": 0, **test, "candidate": failed}]})
    share = {"value": 0.5, "low": 0.1, "high": 0.9}
    figures = {"version": 1, "tests": 1, "candidate": {"pass_share": share, "undecided": 0}}
    figures |= {"shipped": {"pass_share": share}, "difference_to_shipped": {**share, "value": -1.0}}
    checkpoint = registered(
        files={OUTCOMES: artifacts.put(tmp_path / OUTCOMES).sha256}, scores={"suites": {"desk": figures}}
    )

    assert cli("checkpoints", "suites", checkpoint).document == {"desk": figures}
    assert cli("checkpoints", "suites", checkpoint, "desk", "--failed").document[0]["candidate"] == failed
    screen = on_a_screen(cli, "checkpoints", "show", checkpoint)
    assert "0.500 (0.100 … 0.900) passed, -1.000 (0.100 … 0.900) to shipped" in screen
    assert "it lacks yes" in on_a_screen(cli, "checkpoints", "suites", checkpoint, "desk")
