"""The target that answers: canaries, round robin, targets that fail, cuts and callers that hang up."""

import socket
import threading
import time
from collections import Counter

import httpx
from thumbwheel import wire
from thumbwheel.assignment import in_canary

from app import settings
from app.database import transaction
from app.gateway import rests
from app.releases import service as releases
from tests.desk import DESK
from tests.gateway.conftest import add_target, make_checkpoint, see
from tests.gateway.openai_server import model_server

ACTORS = [f"actor-{number}" for number in range(12)]


def release(**new):
    with transaction() as session:
        return releases.ship(session, DESK, wire.NewRelease(**new), "key test")


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def checkpoint_of(served, **headers):
    answer = served.post(headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.headers["X-Thumbwheel-Checkpoint"]


def test_an_actor_keeps_its_canary_and_nobody_without_a_name_gets_it(serve):
    served = serve("live")
    canary = make_checkpoint("canary")
    with model_server() as server:
        add_target("canary", server.url, canary)
        release(checkpoint_id=canary, share=0.5)

        for _ in range(2):
            for actor in ACTORS:
                expected = canary if in_canary(DESK, canary, actor, 0.5) else served.live
                assert checkpoint_of(served, **{"X-Thumbwheel-Actor": actor}) == str(expected)
        named = served.post(user=next(actor for actor in ACTORS if in_canary(DESK, canary, actor, 0.5)))
        assert (named.headers["X-Thumbwheel-Checkpoint"], named.headers["X-Thumbwheel-Release"]) == (str(canary), "2")
        assert {checkpoint_of(served) for _ in range(6)} == {str(served.live)}


def test_the_live_release_answers_for_a_canary_whose_targets_are_away(serve):
    served = serve("live")
    canary = make_checkpoint("canary")
    actor = next(actor for actor in ACTORS if in_canary(DESK, canary, actor, 0.5))
    with model_server(status=503) as server:
        add_target("canary", server.url, canary)
        release(checkpoint_id=canary, share=0.5)

        answer = served.post(headers={"X-Thumbwheel-Actor": actor})

    assert answer.headers["X-Thumbwheel-Checkpoint"] == str(served.live)
    stored = served.registered(answer.json()["id"])
    assert (stored.checkpoint_id, stored.sampling["target"]) == (served.live, "live")


def test_a_release_is_followed_within_seconds_and_the_model_before_answers_until_it_is_loaded(serve):
    served = serve("gpu")
    checkpoint_of(served)
    newer = make_checkpoint("newer")

    release(checkpoint_id=newer)
    wait_until(lambda: served.figures()["projects"][DESK]["targets_with_another_checkpoint"])
    before = served.post()
    assert before.headers["X-Thumbwheel-Checkpoint"] == str(served.live)
    assert "X-Thumbwheel-Release" not in before.headers

    see("gpu", newer)
    wait_until(lambda: checkpoint_of(served) == str(newer))


def test_targets_take_turns_and_one_that_fails_is_skipped_and_rests(serve, monkeypatch):
    monkeypatch.setattr(rests, "FIRST_SECONDS", 30)
    served = serve("a", "b", "c")
    for _ in range(6):
        served.post()
    assert [len(server.bodies) for server in served.servers.values()] == [2, 2, 2]

    served.servers["b"].status = 500
    answers = [served.post() for _ in range(6)]

    assert {answer.status_code for answer in answers} == {200}
    assert len(served.servers["b"].bodies) == 3  # it was asked once
    resting = served.figures()["projects"][DESK]["resting"]
    assert resting == {"b": "it answered 500"}


def test_without_any_target_the_caller_is_told_to_try_again(serve):
    served = serve()
    none = served.post()
    assert (none.status_code, none.headers["Retry-After"], none.json()["error"]["code"]) == (503, "2", "no_target")
    assert "thumbwheel serving show" in none.json()["error"]["message"]


def test_a_server_that_is_gone_or_silent_gives_way_to_the_next(serve, monkeypatch):
    monkeypatch.setattr(rests, "FIRST_SECONDS", 30)
    monkeypatch.setenv("THUMBWHEEL_GATEWAY_FIRST_BYTE_SECONDS", "0.2")
    settings.current.cache_clear()
    served = serve("silent", "there")
    served.servers["silent"].silent = True
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens
        add_target("gone", f"http://127.0.0.1:{closed.getsockname()[1]}", served.live)

        targets = Counter(served.registered(_id_of(served.post(stream=True))).sampling["target"] for _ in range(3))

    assert targets == {"there": 3}
    resting = served.figures()["projects"][DESK]["resting"]
    assert resting["gone"] == "it cannot be reached"
    assert resting["silent"] == "it did not answer within 0.2 s"
    settings.current.cache_clear()


def test_a_connection_that_is_closed_without_an_answer_is_tried_once_more(serve):
    served = serve("gpu", closes=1)
    assert served.post().status_code == 200

    served.servers["gpu"].closes = 2
    refused = served.post()
    assert (refused.status_code, "closes the connection" in refused.text) == (503, True)
    assert served.post().status_code == 200


def _id_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return answer.headers["X-Thumbwheel-Completion-Id"]


def test_a_stream_that_breaks_off_ends_with_an_error_and_is_registered_as_cut(serve):
    served = serve("gpu", cut_after=2)

    answer = served.post(stream=True)

    *_, error, done = answer.text.strip().split("\n\n")
    assert ('"code":"target_cut"' in error, done) == (True, "data: [DONE]")
    stored = served.registered(answer.headers["X-Thumbwheel-Completion-Id"])
    assert (stored.completion, stored.sampling["finish_reason"]) == ("It left ", "target_cut")
    assert (stored.token_ids, stored.log_probs) == ([1000, 1001], [-0.5, -1.5])


def test_a_caller_that_hangs_up_stops_the_server_and_what_it_got_is_registered(serve):
    served = serve("gpu", pause=0.1, words=("Yes ",) * 200)

    headers = {"Authorization": f"Bearer {served.key}"}
    body = {"model": DESK, "messages": [{"role": "user", "content": "?"}], "stream": True}
    with httpx.stream("POST", f"{served.url}/v1/chat/completions", json=body, headers=headers) as answer:
        next(answer.iter_raw())

    assert served.servers["gpu"].hung_up.wait(10)
    stored = served.registered(answer.headers["X-Thumbwheel-Completion-Id"])
    assert stored.sampling["finish_reason"] == "client_closed"
    assert 0 < len(stored.completion) < 200
    assert served.figures()["under_way"] == 0


def test_more_requests_than_the_gateway_takes_are_told_to_try_again(serve, monkeypatch):
    monkeypatch.setenv("THUMBWHEEL_GATEWAY_REQUESTS", "2")
    settings.current.cache_clear()
    served = serve("gpu", pause=0.2)
    statuses = Counter()

    def ask():
        statuses[served.post(stream=True).status_code] += 1

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    settings.current.cache_clear()

    assert statuses == {200: 2, 503: 4}
