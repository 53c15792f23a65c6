"""`thumbwheel suites`: lists, checks, imports, and runs against a real server, which may misbehave."""

import json
import os

import pytest

from tests.cli.conftest import CommandLine, in_this_process, on_a_terminal
from tests.suites.model_server import Reply, chat, model_server

KEY = "sk-very-secret-0123456789"
SUITE = {
    "name": "greeting",
    "prompts": ["Say {{word}}"],
    "tests": [
        {"vars": {"word": "hello"}, "assert": [{"type": "icontains", "value": "{{word}}", "metric": "words"}]},
        {"vars": {"word": "bye"}, "assert": [{"type": "icontains", "value": "{{word}}", "metric": "words"}]},
    ],
}


@pytest.fixture
def cli() -> CommandLine:
    """The command line in this process, without any server of Thumbwheel."""
    return CommandLine(in_this_process, {"COLUMNS": "200"})


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "suite.json"
    path.write_text(json.dumps(SUITE))
    return path


def echo(_number, body):
    return chat(body["messages"][-1]["content"])


def run(cli, server, *arguments, **environment):
    return cli("suites", "run", *arguments, "--endpoint", server.url, "--model", "tiny", **environment)


def test_our_suites_are_listed_shown_and_checked(cli):
    listed = cli("suites", "list")
    shown = cli("suites", "show", "refusal")
    checked = cli("suites", "check", "refusal", "sycophancy")

    assert [item["name"] for item in listed.document] == [
        "instruction-format", "invented-promises", "refusal", "sycophancy",
    ]  # fmt: skip
    assert shown.out.startswith("name: refusal\n")
    assert [item["valid"] for item in checked.document] == [True, True]
    assert checked.document[0]["sha256"] == listed.document[2]["sha256"]


def test_a_run_in_which_everything_passes_ends_with_0(cli, suite):
    with model_server(echo) as server:
        done = run(cli, server, suite)

    assert done.code == 0, done
    report = done.document
    assert (report["passed"], report["failed"], report["undecided"], report["pass_share"]) == (2, 0, 0, 1)
    assert report["interval"] == pytest.approx([0.342, 1], abs=0.001)  # Wilson's of 2 of 2
    assert report["suites"][0]["metrics"] == {"words": {"score": 1, "decided": 2, "undecided": 0}}
    assert [outcome["output"] for outcome in report["suites"][0]["outcomes"]] == ["Say hello", "Say bye"]
    request = next(request for request in server.requests if "hello" in str(request))
    assert request == {
        "model": "tiny", "messages": [{"role": "user", "content": "Say hello"}], "temperature": 0, "max_tokens": 512,
    }  # fmt: skip


def test_a_failed_test_ends_with_1_and_says_why(cli, suite):
    with model_server(lambda *_: chat("hello")) as server:
        done = run(cli, server, suite, "--seed", "7", "--max-tokens", "9")

    assert done.code == 1
    outcome = done.document["suites"][0]["outcomes"][1]
    assert (outcome["verdict"], outcome["reason"]) == ("failed", "icontains: the output lacks 'bye'")
    assert {(request["seed"], request["max_tokens"]) for request in server.requests} == {(7, 9)}


MISSING = {
    "hangs up": (Reply(status=None), "does not answer"),
    "500": (Reply(b"oops", 500), "answered 500"),
    "401": (Reply(b'{"error": {"message": "no"}}', 401), "answered 401"),
    "no JSON": (Reply(b"<html>"), "not JSON"),
    "deep JSON": (Reply(b"[" * 100_000), "not JSON"),
    "another shape": (Reply(b'{"choices": []}'), "not a chat completion"),
    "a list": (Reply(b"[1]"), "not a chat completion"),
    "no text": (chat(None), "no text"),
    "no tokens left": (chat("", "length"), "raise --max-tokens"),
    "huge": (Reply(b'"' + b"x" * 5_000_000), "larger than 4 MiB"),
    "long": (chat("x" * 200_001), "more than 200,000 characters"),
    "slow": (Reply(drip="body"), "does not answer"),
    "slow headers": (Reply(drip="headers"), "does not answer"),
    "half": (Reply(b"{", headers={"Content-Length": "99"}), "does not answer"),
    "redirected": (Reply(status=302, headers={"Location": "http://127.0.0.1:1/"}), "answered 302"),
}


@pytest.mark.parametrize("kind", MISSING)
def test_an_answer_that_cannot_be_had_is_undecided_and_never_a_failure_or_zero(cli, suite, kind):
    reply, reason = MISSING[kind]
    with model_server(lambda *_: reply) as server:
        done = run(cli, server, suite, "--tries", "1", "--timeout", "0.4" if "slow" in kind else "20")

    assert done.code == 3, done
    report = done.document
    assert (report["failed"], report["undecided"], report["pass_share"], report["interval"]) == (0, 2, None, None)
    assert report["suites"][0]["metrics"] == {"words": {"score": None, "decided": 0, "undecided": 2}}
    for outcome in report["suites"][0]["outcomes"]:
        assert (outcome["verdict"], outcome["score"], outcome["output"]) == ("undecided", None, None)
        assert reason in outcome["reason"]


def test_a_request_is_repeated_after_a_5xx(cli, suite):
    with model_server(lambda number, body: Reply(status=503) if number == 0 else echo(number, body)) as server:
        done = run(cli, server, suite, "--concurrency", "1")

    assert (done.code, len(server.requests)) == (0, 3)


def test_an_endpoint_that_never_answers_gets_no_further_requests(cli, tmp_path):
    path = tmp_path / "suite.json"
    path.write_text(json.dumps({**SUITE, "tests": SUITE["tests"] * 20}))
    with model_server(lambda *_: Reply(status=None)) as server:
        done = run(cli, server, path, "--tries", "1", "--concurrency", "1")

    assert (done.code, done.document["undecided"], len(server.requests)) == (3, 40, 10)
    assert "not requested" in done.document["suites"][0]["outcomes"][-1]["reason"]


def test_a_refusal_in_its_own_field_and_a_cut_off_text_are_judged(cli, tmp_path):
    path = tmp_path / "suite.json"
    path.write_text(json.dumps({"name": "x", "prompts": ["x"], "tests": [{"assert": [{"type": "is-refusal"}]}]}))
    with model_server(lambda *_: chat(None, "length", refusal="I can't help with that.")) as server:
        done = run(cli, server, path)

    outcome = done.document["suites"][0]["outcomes"][0]
    assert (done.code, outcome["verdict"], outcome["cut_off"]) == (0, "passed", True)


def test_the_key_comes_from_a_variable_and_appears_nowhere_even_if_the_server_sends_it_back(cli, suite):
    problem = json.dumps({"code": "no", "detail": f"unknown key {KEY}"}).encode()
    replies = [chat(f"hello {KEY}"), Reply(problem, 403)]
    with model_server(lambda number, _: replies[number % 2]) as server:
        done = run(cli, server, suite, "--key-env", "MY_KEY", "--concurrency", "1", MY_KEY=KEY)

    assert server.keys == [f"Bearer {KEY}"] * 2
    assert done.code == 3
    assert KEY not in done.out + done.err
    assert "unknown key ***" in done.out


def test_similar_is_undecided_without_embeddings_and_decided_with_them(cli, tmp_path):
    path = tmp_path / "suite.json"
    assertion = {"type": "similar", "value": "Say hello", "threshold": 0.9}
    path.write_text(json.dumps({**SUITE, "tests": [{"vars": {"word": "hello"}, "assert": [assertion]}]}))

    def answer(number, body):
        if "input" not in body:
            return echo(number, body)
        vectors = [{"index": index, "embedding": [1, 2]} for index, _ in enumerate(body["input"])]
        return Reply(json.dumps({"data": vectors}).encode())

    with model_server(answer) as server:
        without = run(cli, server, path)
        with_them = run(cli, server, path, "--embeddings", server.url, "--embedding-model", "e")
    with model_server(lambda number, body: Reply(b"{}") if "input" in body else echo(number, body)) as server:
        nonsense = run(cli, server, path, "--embeddings", server.url, "--embedding-model", "e")

    assert (without.code, with_them.code, nonsense.code) == (3, 0, 3)
    assert "needs an embedding endpoint" in without.out
    assert "not a list of embeddings" in nonsense.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "neither a file nor the name of a suite: use instruction-format"),
        (["nothing.yaml"], "cannot be read: No such file"),
        (["refusal", "--endpoint", "ftp://x"], "not the URL of an endpoint"),
        (["refusal", "--endpoint", "http://me:secret@x/v1"], "put the key into an environment variable"),
        (["refusal", "--key-env", "NO_SUCH_KEY"], "NO_SUCH_KEY is empty"),
        (["refusal", "--embeddings", "http://x"], "belong together"),
        (["refusal", "--judge", "http://x"], "--judge and --judge-model belong together"),
        (["refusal", "--judge-budget", "3"], "--judge-budget belongs to --judge"),
        (["refusal", "--folder", "/models/x"], "--endpoint and --folder exclude each other"),
        (["refusal", "--adapter", "/models/x"], "--adapter belongs to --folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(cli, arguments, message):
    line = cli.refused("suites", "run", "--endpoint", "http://127.0.0.1:9/v1", "--model", "x", *arguments)

    assert message in line
    assert "secret" not in line


def test_a_suite_with_faults_names_each_path_and_rule(cli, suite):
    suite.write_text(
        json.dumps({**SUITE, "tests": [{"assert": [{"type": "contians", "value": "x"}, {"type": "regex"}]}]})
    )

    line = cli.refused("suites", "check", suite)

    assert "/tests/0/assert/0/type: 'contians' is not a supported type" in line
    assert "/tests/0/assert/1/value: is missing" in line


def test_an_import_writes_a_suite_and_a_line_for_each_loss(cli, tmp_path):
    config = tmp_path / "promptfooconfig.yaml"
    config.write_text(
        "prompts: ['Say {{word}}']\ntests:\n- vars: {word: a}\n  assert:\n"
        "  - {type: contains, value: a}\n  - {type: cost, threshold: 1}\n"
    )
    output = tmp_path / "suite.yaml"

    to_file = cli("suites", "import", config, "--output", output)
    to_stdout = cli("suites", "import", config, "--name", "mine")

    assert (to_file.code, to_stdout.code) == (1, 1)
    assert to_file.out == ""
    assert to_file.err.count("\n") == 1
    assert "/tests/0/assert/1/type: 'cost' is not supported" in to_file.err
    assert to_stdout.out.startswith("name: mine\n")
    assert cli("suites", "check", output).document[0]["tests"] == 1


def test_an_import_of_nothing_is_refused_and_writes_nothing(cli, tmp_path):
    config = tmp_path / "promptfooconfig.yaml"
    config.write_text("prompts: [x]\ntests: [{vars: {}}]\n")

    line = cli.refused("suites", "import", config, "--output", tmp_path / "suite.yaml")

    assert "any output would pass" in line
    assert not (tmp_path / "suite.yaml").exists()


def test_a_terminal_gets_a_table_and_the_reasons(suite):
    with model_server(lambda *_: chat("hello")) as server:
        command = ["suites", "run", str(suite), "--endpoint", server.url, "--model", "tiny"]
        done = on_a_terminal(command, {**os.environ, "COLUMNS": "120", "TERM": "xterm"})

    text = done.out
    assert done.code == 1
    assert "95 % interval" in text
    assert "50.0%" in text
    assert "greeting tests[1], prompt 1: icontains: the output lacks 'bye'" in text
