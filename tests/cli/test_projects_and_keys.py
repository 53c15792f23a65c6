"""`thumbwheel projects` and `thumbwheel keys`."""

import os
import pty
import subprocess
import sys
from typing import Any

import pytest
from thumbwheel import ApiError, Client, wire

from app.access import service as access
from app.database import transaction
from app.errors import Unauthenticated
from tests.cli.conftest import CommandLine, in_this_process, on_a_screen


def set_limits(shown: Any) -> dict[str, int]:
    return {name: quota for name, quota in shown["limits"].items() if quota is not None}


def test_a_project_is_made_with_its_recipe_and_trigger_and_shown_as_json_to_a_pipe(cli):
    options = ["--preset", "cpu-demo", "--set", "beta=0.3", "--set", "lora.rank=8", "--set", "schedule=linear"]

    created = cli("projects", "create", "support", "--base-model", "/models/tiny", *options, "--new-per-class", "50")

    assert created.code == 0, created.err
    assert created.document["recipe"] == {
        "preset": "cpu-demo",
        "changes": {"beta": 0.3, "lora": {"rank": 8}, "schedule": "linear"},
    }
    assert created.document["trigger"] == {"new_per_class": 50, "every_hours": None}
    assert cli("projects", "show", "support").document == created.document
    assert [item["project"] for item in cli("projects", "list").document] == ["acme", "support"]


def test_what_is_wrong_with_a_project_is_one_line_that_names_the_field(cli):
    beta = cli.refused("projects", "create", "x", "--base-model", "/m", "--set", "beta=-1")
    name = cli.refused("projects", "create", "Not A Slug", "--base-model", "/m")
    change = cli.refused("projects", "create", "x", "--base-model", "/m", "--set", "beta")
    again = cli.refused("projects", "create", "acme", "--base-model", "/m")

    assert beta.startswith("--set beta: it is -1, it has to be over 0 and at most 10 (")
    assert name.startswith("project: ")
    assert "FIELD=VALUE" in change
    assert "exists already" in again


def test_redaction_is_switched_on_shown_with_its_findings_and_switched_off(cli):
    shown = cli("projects", "redaction", "acme", "reject", "--kind", "email", "--kind", "card").document
    event = {"completion_id": "c1", "actor": "u", "signal": {"kind": "comment", "text": "to ann.lee@example.com"}}
    url, key = cli.environment["THUMBWHEEL_URL"], cli.environment["THUMBWHEEL_API_KEY"]
    refused = pytest.raises(ApiError, match="/signal/text: holds email")
    with Client(url, key, project="acme") as client, refused:
        client.events.record(wire.Event.model_validate(event))
    report = cli("projects", "redaction", "acme").document
    actors = cli.refused("projects", "actors", "acme", "hashed")
    kind = cli.refused("projects", "redaction", "acme", "mask", "--kind", "shoe size")
    no_mode = cli.refused("projects", "redaction", "acme", "--kind", "email")

    assert shown["redaction"] == {"mode": "reject", "kinds": ["card", "email"]}
    assert [(each["kind"], each["mode"], each["findings"]) for each in report["findings"]] == [("email", "reject", 1)]
    assert "THUMBWHEEL_PSEUDONYM_KEY" in actors
    assert kind.startswith("The redaction is wrong: /redaction/kinds/0: there is no kind of this name")
    assert no_mode == "--kind needs a mode: mask or reject."
    assert cli("projects", "redaction", "acme", "off").document["redaction"]["mode"] == "off"


def test_a_key_is_made_used_found_again_by_its_ending_and_revoked(cli):
    created = cli("keys", "create", "dashboard", "--scope", "runs:read", "--project", "acme", "--days", "1").document
    with Client(cli.environment["THUMBWHEEL_URL"], created["secret"]) as client:
        assert list(client.runs.list()) == []

    assert [key["name"] for key in cli("keys", "list").document] == ["dashboard", "first admin"]
    assert cli("keys", "revoke", created["id"][-8:]).document["revoked_at"]

    refused = cli.refused("runs", "list", THUMBWHEEL_API_KEY=created["secret"])
    assert "was revoked" in refused


def test_a_browser_key_is_made_and_rotated_and_the_operator_log_lists_both(cli):
    origin = "https://shop.example.com"
    created = cli("keys", "create", "page", "--project", "acme", "--origin", origin, "--per-actor", "10").document
    rotated = cli("keys", "rotate", created["id"][-8:], "--overlap-hours", "0").document

    assert (created["scopes"], created["origins"]) == (["feedback:write"], [origin])
    assert set_limits(created) == {"actor_per_minute": 10, "address_per_minute": 120}
    assert rotated["id"] == created["id"]
    assert rotated["secret"] != created["secret"]
    assert "is public" in cli.refused("keys", "create", "page", "--origin", origin)
    assert "is no origin" in cli.refused("keys", "create", "page", "--project", "acme", "--origin", "shop")
    listed = cli("operator-log", "--limit", "2", "--project", "acme").document
    assert [(item["operation"], item["about"]["key_id"]) for item in listed] == [
        ("rotate_key", created["id"]),
        ("create_key", created["id"]),
    ]


def test_limits_of_a_key_and_a_project_are_changed_one_by_one_and_shown(cli):
    options = ["--project", "acme", "--scope", "feedback:write", "--per-minute", "600", "--per-address", "9"]
    created = cli("keys", "create", "shop", *options).document

    key = cli("keys", "limits", created["id"][-8:], "--per-actor", "5", "--per-address", "0").document
    cli("projects", "limits", "acme", "--per-minute", "6000", "--per-actor", "60", "--gateway-per-minute", "90")
    project = cli("projects", "limits", "acme", "--per-minute", "0").document

    assert set_limits(key) == {"per_minute": 600, "actor_per_minute": 5}
    assert set_limits(project) == {"actor_per_minute": 60, "gateway_per_minute": 90}
    assert "Name a limit" in cli.refused("projects", "limits", "acme")
    assert "600 in all, 5 an actor" in on_a_screen(cli, "keys", "limits", created["id"], "--per-actor", "5")
    assert "60 an actor, 90 by the gateway" in on_a_screen(cli, "projects", "show", "acme")


def test_a_vote_link_is_made_and_revoked_and_its_secret_rotated(cli):
    link = cli("vote-links", "create", "msg-1042", "user-77", "--hours", "2", "--project", "acme").document

    assert "/vote/" in link["url"]
    assert cli("vote-links", "revoke", link["id"], "--project", "acme").document["id"] == link["id"]
    assert cli("vote-links", "rotate", "--overlap-hours", "0", "--project", "acme").document["number"] == 2


def test_an_ending_has_to_be_long_enough_and_known(cli):
    assert "at least the last 4" in cli.refused("keys", "revoke", "abc")
    assert "at least the last 4" in cli.refused("keys", "revoke", "dashboard")
    assert "No key has an id that ends with 00000000" in cli.refused("keys", "revoke", "00000000")


def test_an_unknown_scope_is_answered_with_those_there_are(cli):
    assert "'feedback:write'" in cli.refused("keys", "create", "x", "--scope", "everything")


@pytest.fixture
def beside_the_database(database, migrated) -> CommandLine:
    """The command line with the addresses of the servers, and without a key."""
    return CommandLine(in_this_process, migrated.environment)


def test_the_first_key_comes_from_the_database_itself_and_only_once(bare, beside_the_database):
    first = beside_the_database("keys", "first")
    second = beside_the_database.refused("keys", "first")

    assert first.document["secret"].startswith("tw_")
    assert "There is an admin key already" in second
    assert "THUMBWHEEL_DATABASE_URL" in bare.refused("keys", "first")


def test_a_lost_first_key_is_replaced_and_opens_nothing_any_more(beside_the_database):
    lost = beside_the_database("keys", "first").document["secret"]

    replaced = beside_the_database("keys", "first", "--replace").document["secret"]

    with transaction() as session:
        assert access.recognise(session, replaced).scopes == ["admin"]
        with pytest.raises(Unauthenticated):
            access.recognise(session, lost)


@pytest.mark.xdist_group("stack")
@pytest.mark.trial
def test_the_first_key_of_the_embedded_stack_is_found_by_its_data_folder(bare, stack):
    folder = stack.environment["THUMBWHEEL_DATA_DIR"]

    assert "`thumbwheel keys first --replace`" in bare.refused("keys", "first", THUMBWHEEL_DATA_DIR=folder)


def test_a_project_is_archived_listed_as_such_and_opened_again(cli):
    archived = cli("projects", "archive", "acme").document
    listed = cli("projects", "list").document
    opened = cli("projects", "archive", "acme", "--undo").document

    assert archived["archived_at"] is not None
    assert [item["archived_at"] for item in listed] == [archived["archived_at"]]
    assert opened["archived_at"] is None


def test_another_base_model_is_live_at_once(cli, client):
    release = cli("projects", "base-model", "acme", "/models/other", "--reason", "it is better").document

    assert release["action"] == "start"
    assert client.releases.current().base_model == "/models/other"


def test_the_version_is_printed(cli):
    done = cli("--version")

    assert done.code == 0
    assert done.out.startswith("thumbwheel 0.")


def test_a_terminal_gets_a_table(cli):
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli.main", "projects", "list"],
        stdout=follower,
        env={**os.environ, **cli.environment},
    )
    os.close(follower)
    printed = b""
    try:
        while chunk := os.read(leader, 4096):
            printed += chunk
    except OSError:
        pass  # Linux raises this once the other side is closed
    finally:
        os.close(leader)

    assert process.wait() == 0
    heading, row = printed.decode().strip().splitlines()
    assert "base model" in heading
    assert "acme" in row
    assert "/models/base" in row
