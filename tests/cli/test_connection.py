"""The key, API address and project of a command: each mistake is one line with the remedy."""

from app import services
from tests.cli.conftest import CommandLine, in_this_process


def test_an_api_that_does_not_answer_is_named_with_what_starts_it(without_pauses):
    url = f"http://127.0.0.1:{services.free_port()}"

    line = CommandLine(in_this_process, {"THUMBWHEEL_URL": url}).refused("runs", "list")

    assert line.startswith(f"The API at {url} does not answer")
    assert "`thumbwheel up`" in line


def test_a_missing_and_a_wrong_key_are_distinguished_and_the_variable_is_named(cli):
    missing = cli.refused("runs", "list", THUMBWHEEL_API_KEY="")
    wrong = cli.refused("runs", "list", THUMBWHEEL_API_KEY="tw_wrong")

    assert "Send your API key" in missing
    assert "Unknown API key" in wrong
    assert all("THUMBWHEEL_API_KEY" in line for line in (missing, wrong))


def test_a_key_of_all_projects_needs_one_named(cli):
    line = cli.refused("runs", "list", THUMBWHEEL_PROJECT="")

    assert line == "Your key is valid for every project: name one by --project or THUMBWHEEL_PROJECT."
    assert cli("runs", "list", "--project", "acme", THUMBWHEEL_PROJECT="").document == []


def test_a_setting_that_cannot_be_read_is_named(cli):
    assert "THUMBWHEEL_PORT" in cli.refused("runs", "list", THUMBWHEEL_PORT="eighty")


def test_another_server_on_that_port_is_no_traceback(cli):
    line = cli.refused("runs", "list", THUMBWHEEL_URL=f"{cli.environment['THUMBWHEEL_URL']}/elsewhere")

    assert "404" in line or "Not Found" in line
