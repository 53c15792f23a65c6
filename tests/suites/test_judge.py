"""A judge behind a server that may misbehave: whatever it does not say is missing, within the budget."""

import json
import threading

import pytest

from app.suites.consecutive_misses import MOST_MISSES_IN_A_ROW
from app.suites.endpoint import Missing
from app.suites.judge.answer_cache import AnswerCache
from app.suites.judge.budget import Budget
from app.suites.judge.judge import Judge
from tests.suites.model_server import Reply, chat, model_server

KEY = "sk-judge-0123456789"


def preferring(text):
    """Answers like a judge that prefers outputs with `text` in them."""

    def answer(_number, body):
        user = body["messages"][1]["content"]
        first, second = (user.partition(f"begin of {name}]")[2].partition("end of")[0] for name in ("FIRST", "SECOND"))
        better = {(True, False): "first", (False, True): "second"}.get((text in first, text in second), "tie")
        return chat(json.dumps({"reason": "because", "better": better}))

    return answer


def judge_at(server, **settings):
    return Judge(server.url, "judge", KEY, **{"tries": 1, "timeout": 20, **settings})


def test_a_pair_is_asked_for_in_both_orders():
    with model_server(preferring("good")) as server:
        judge = judge_at(server)
        pairs = [judge.compare("Hi", *outputs) for outputs in (("good", "bad"), ("bad", "good"), ("x", "y"))]
        judge.close()

    assert [(pair.share, pair.consistent) for pair in pairs] == [(1, True), (0, True), (0.5, True)]
    assert len(server.requests) == 6
    assert server.keys == [f"Bearer {KEY}"] * 6
    assert {request["temperature"] for request in server.requests} == {0}


def test_a_judge_that_always_prefers_the_first_is_inconsistent():
    with model_server(lambda *_: chat('{"better": "first"}')) as server:
        judge = judge_at(server)
        pair = judge.compare("Hi", "good", "bad")
        judge.close()

    assert (pair.share, pair.consistent) == (0.5, False)


def test_equal_outputs_need_no_request():
    with model_server(preferring("good")) as server:
        judge = judge_at(server)
        pair = judge.compare("Hi", "same", "same")
        judge.close()

    assert (pair.share, pair.consistent, server.requests) == (0.5, None, [])


MALICE = {
    "hangs up": (Reply(status=None), "does not answer"),
    "500": (Reply(b"oops", 500), "answered 500"),
    "401": (Reply(json.dumps({"detail": f"bad key {KEY}"}).encode(), 401), "answered 401"),
    "no JSON": (Reply(b"<html>"), "not JSON"),
    "nonsense": (chat("I like turtles."), "not usable: it has no JSON object"),
    "two answers": (chat('{"better": "first"} {"better": "second"}'), "2 JSON objects"),
    "a key in escapes": (chat('{"better": "' + "".join(f"\\u{ord(letter):04x}" for letter in KEY) + '"}'), "not one"),
    "cut off": (chat('{"reason": "it', "length"), "cut off after 1024 tokens"),
    "no tokens left": (chat("", "length"), "raise the judge's limit of tokens"),
    "huge": (Reply(b'"' + b"x" * 5_000_000), "larger than 4 MiB"),
    "long": (chat("x" * 50_000), "50,000 characters"),
    "slow": (Reply(drip="body"), "no whole answer within"),
    "slow headers": (Reply(drip="headers"), "no whole answer within"),
}


@pytest.mark.parametrize("kind", MALICE)
def test_what_the_judge_does_not_say_is_missing_with_the_reason_and_without_the_key(kind, tmp_path, caplog):
    reply, reason = MALICE[kind]
    with model_server(lambda *_: reply) as server:
        judge = judge_at(server, timeout=0.3 if "slow" in kind else 20, cache=AnswerCache(tmp_path))
        pair = judge.compare("Hi", "good", "bad")
        judge.close()

    assert (pair.share, pair.consistent) == (None, None)
    assert reason in str(pair.missing)
    assert KEY not in f"{pair} {judge!r} {vars(judge)} {judge.usage()} {caplog.text}"
    assert list(tmp_path.iterdir()) == []  # it is requested again next time


def test_a_judge_that_never_answers_gets_no_further_requests():
    with model_server(lambda *_: Reply(status=None)) as server:
        judge = judge_at(server)
        pairs = [judge.compare("Hi", str(number), "bad") for number in range(15)]
        judge.close()

    assert len(server.requests) == MOST_MISSES_IN_A_ROW
    assert "not requested" in str(pairs[-1].missing)


def test_a_spent_budget_stops_requests_and_is_reported():
    with model_server(preferring("good")) as server:
        judge = judge_at(server, budget=Budget(requests=5))
        pairs = [judge.compare("Hi", f"good {number}", "bad") for number in range(20)]
        judge.close()

    assert [pair.share for pair in pairs[:3]] == [1, 1, None]
    assert (len(server.requests), judge.requests, judge.budget_spent) == (5, 5, True)
    # The budget is the reason to the end: it does not look like a server that does not answer.
    assert {pair.missing for pair in pairs[2:]} == {"the judge's budget of 5 requests is spent"}


def test_every_attempt_counts_against_the_budget():
    with model_server(lambda *_: Reply(status=503)) as server:
        judge = judge_at(server, tries=5, budget=Budget(requests=2))
        pair = judge.compare("Hi", "good", "bad")
        judge.close()

    assert (len(server.requests), judge.budget_spent) == (2, True)
    assert "budget of 2 requests" in str(pair.missing)


@pytest.mark.parametrize("usage", [{"total_tokens": 900}, None, {"total_tokens": "many"}, []])
def test_a_budget_of_tokens_counts_what_the_server_says_or_an_estimate(usage):
    with model_server(lambda *_: chat('{"better": "tie"}', usage=usage)) as server:
        judge = judge_at(server, budget=Budget(tokens=6_000))
        for number in range(20):
            judge.compare("Hi", str(number), "bad")
        judge.close()

    counted = 900 if usage == {"total_tokens": 900} else judge.usage()["tokens"] / judge.requests
    assert judge.budget_spent
    assert judge.usage()["tokens"] == counted * judge.requests <= 6_000
    assert 2 <= judge.requests == len(server.requests) <= 6


def test_answers_are_kept_by_content_and_damaged_ones_are_requested_again(tmp_path):
    with model_server(preferring("good")) as server:
        first = judge_at(server, cache=AnswerCache(tmp_path / "answers"))
        first.compare("Hi", "good", "bad")
        first.close()
        again = judge_at(server, cache=AnswerCache(tmp_path / "answers"))
        assert again.compare("Hi", "good", "bad").share == 1
        assert (again.requests, again.from_cache) == (0, 2)
        again.compare("Ho", "good", "bad")  # another question
        other = judge_at(server, cache=AnswerCache(tmp_path / "answers"), answer_tokens=99)
        other.compare("Hi", "good", "bad")  # other settings
        assert (again.requests, other.requests) == (2, 2)

        kept = sorted((tmp_path / "answers").glob("*.json"))
        damage = [b"", b"{", b'{"answer": "x", "sha256": "y"}', b"[" * 100_000, kept[0].read_bytes()[:-9], b"\xff"]
        assert len(kept) == len(damage)
        for path, content in zip(kept, damage, strict=True):
            path.write_bytes(content)
        repaired = judge_at(server, cache=AnswerCache(tmp_path / "answers"))
        assert repaired.compare("Hi", "good", "bad").share == 1
        assert (repaired.requests, repaired.from_cache) == (2, 0)
        for judge in (again, other, repaired):
            judge.close()

    assert KEY not in "".join(path.read_text("latin-1") for path in (tmp_path / "answers").iterdir())


def test_an_answer_under_the_name_of_another_question_is_not_used(tmp_path):
    cache = AnswerCache(tmp_path)
    cache.put("a" * 64, "yes")
    (tmp_path / f"{'a' * 64}.json").rename(tmp_path / f"{'b' * 64}.json")

    assert cache.get("b" * 64) is None


def test_several_threads_may_keep_the_same_answer_at_once(tmp_path):
    cache = AnswerCache(tmp_path)
    threads = [threading.Thread(target=cache.put, args=("key", "x" * 100_000)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert cache.get("key") == "x" * 100_000
    assert [path.name for path in tmp_path.iterdir()] == ["key.json"]


def test_a_folder_that_cannot_be_written_costs_requests_but_no_judgement(tmp_path):
    folder = tmp_path / "answers"
    with model_server(preferring("good")) as server:
        judge = judge_at(server, cache=AnswerCache(folder))
        folder.rmdir()
        folder.touch()
        pair = judge.compare("Hi", "good", "bad")
        judge.close()

    assert pair.share == 1


def test_a_request_that_is_under_way_ends_when_the_judge_is_closed():
    asked = threading.Event()

    def silent(*_):
        asked.set()
        return Reply(drip="headers")

    with model_server(silent) as server:
        judge = judge_at(server, timeout=3600)
        reasons: list[str] = []

        def prefer():
            with pytest.raises(Missing) as missing:
                judge.prefer("Hi", "good", "bad")
            reasons.append(str(missing.value))

        waiting = threading.Thread(target=prefer, daemon=True)
        waiting.start()
        assert asked.wait(60)
        judge.close()
        waiting.join(60)

    assert reasons == ["the requests were ended"]
