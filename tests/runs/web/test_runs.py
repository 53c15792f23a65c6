"""Runs over HTTP."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from thumbwheel import Client

from app import services
from app.cli import watch
from app.database import new_id, transaction
from app.idempotency import service as idempotency
from app.loop import service as loop
from app.runs.leases import service as leases
from app.runs.states import RunState
from app.runs.stream import streams
from tests.desk import advance, claim, execute, ready_to_finish, vote
from tests.served import served

PROJECT = {"project": "acme"}


@pytest.fixture(autouse=True)
def _enough(api):
    rules = {"minimum_per_class": 5, "holdout_share": 0.3}
    assert api.patch("/v1/projects/acme", json={"snapshot": rules}).status_code == 200
    vote(40, project="acme")


def start(api, **body):
    return api.post("/v1/runs", params=PROJECT, json=body)


def test_a_started_run_is_accepted_and_can_be_followed(api):
    started = start(api, note="after the new policy", changes={"beta": 0.2})

    assert started.status_code == 202, started.text
    run = started.json()
    assert run["state"] == "queued"
    assert run["trigger"] == "requested by key first admin: after the new policy"
    assert run["recipe"]["beta"] == 0.2
    assert api.get(f"/v1/runs/{run['id']}", params=PROJECT).json() == run
    assert api.get(f"/v1/runs/{run['id']}/metrics", params=PROJECT).json() == {"run_id": run["id"], "steps": []}


def test_a_second_run_is_a_conflict_that_names_the_active_one(api):
    first = start(api).json()

    second = start(api)

    assert second.status_code == 409
    assert second.json()["code"] == "run_active"
    assert second.json()["details"] == {"active_run_id": first["id"]}


def test_a_run_on_no_data_is_refused_with_what_is_missing(api):
    api.post("/v1/projects", json={"project": "empty", "base_model": "/models/base"})

    refused = api.post("/v1/runs", params={"project": "empty"}, json={})

    assert refused.status_code == 409
    assert refused.json()["code"] == "not_ready"
    ready = api.get("/v1/projects/empty/readiness").json()
    assert ready["ready"] is False
    assert ready["reasons"] == refused.json()["reasons"] != []


def test_readiness_counts_labels(api):
    ready = api.get("/v1/projects/acme/readiness").json()

    assert ready["ready"] is True
    assert (ready["counts"]["desirable"], ready["counts"]["undesirable"]) == (20, 20)


def test_a_wrong_recipe_is_named_field_by_field(api):
    wrong = start(api, changes={"beta": -1})

    assert wrong.status_code == 422
    assert [error["pointer"] for error in wrong.json()["errors"]] == ["/changes/beta"]


def test_cancelling_ends_a_queued_run_and_an_ended_one_is_a_conflict(api):
    run = start(api).json()

    assert api.post(f"/v1/runs/{run['id']}/cancel", params=PROJECT).json()["state"] == "cancelled"

    failed = start(api).json()
    claimed = claim(failed["id"])
    with transaction() as session:
        leases.fail(session, claimed.lease, "because")
    refused = api.post(f"/v1/runs/{failed['id']}/cancel", params=PROJECT)
    assert refused.status_code == 409
    assert refused.json()["code"] == "illegal_transition"


def test_runs_come_in_pages_newest_first(api, tmp_path):
    ids = []
    for _ in range(3):
        ids.append(start(api).json()["id"])
        api.post(f"/v1/runs/{ids[-1]}/cancel", params=PROJECT)

    first = api.get("/v1/runs", params={**PROJECT, "limit": 2}).json()
    second = api.get("/v1/runs", params={**PROJECT, "limit": 2, "cursor": first["next_cursor"]}).json()

    assert [run["id"] for run in first["items"] + second["items"]] == ids[::-1]
    assert second["next_cursor"] is None
    wrong = api.get("/v1/runs", params={**PROJECT, "cursor": "bm90LWFuLWlk"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_cursor")


def test_unknown_runs_and_other_projects_keys_are_turned_away(api, key):
    run = start(api).json()
    api.post("/v1/projects", json={"project": "other", "base_model": "/models/base"})

    assert api.get(f"/v1/runs/{new_id()}", params=PROJECT).status_code == 404
    assert api.get(f"/v1/runs/{run['id']}", headers=key("runs:read", project="other")).status_code == 404
    assert start(api).status_code == 409
    reader = key("runs:read", project="acme")
    assert api.post("/v1/runs", headers=reader, json={}).status_code == 403
    assert api.get("/v1/runs", headers=reader).status_code == 200


def test_trigger_decisions_can_be_read(api):
    api.patch("/v1/projects/acme", json={"trigger": {"new_per_class": 100}})
    loop.tick()

    (decision,) = api.get("/v1/trigger-decisions", params=PROJECT).json()["items"]

    assert decision["started"] is False
    assert decision["reason"].startswith("not yet: 20 of 100 new desirable labels")


def test_progress_is_seen_while_the_run_works(api, tmp_path):
    claimed = ready_to_finish(tmp_path, "acme")

    run = api.get(f"/v1/runs/{claimed.lease.run_id}", params=PROJECT).json()

    assert run["state"] == "evaluating"
    assert run["recipe"]["lambda_desirable"] != "auto"


def test_watching_shows_the_newest_of_each_figure_though_drift_is_measured_now_and_then(
    api, admin_key, capsys, monkeypatch
):
    monkeypatch.setattr(streams, "LOOK_SECONDS", 0.01)
    claimed = claim(start(api).json()["id"])
    advance(claimed.lease, RunState.REFERENCING, RunState.TRAINING)
    output = ""

    def report(step, **figures):
        line = {"step": step, "loss": 0.5, "reward_desirable": 0.1, "reward_undesirable": -0.2, "z0": None, **figures}
        with transaction() as session:
            leases.report(session, claimed.lease, leases.Report(done=step, total=9, metrics=[line]))

    def has_said(words):
        nonlocal output
        output += capsys.readouterr().out
        return words in output

    with (
        served() as url,
        Client(url, api_key=admin_key, project="acme") as client,
        ThreadPoolExecutor(1) as pool,
    ):
        code = pool.submit(watch.watch_run, client, claimed.lease.run_id, as_json=False)
        report(2, kl_nats_per_token=0.031)
        assert services.wait_until(lambda: has_said("2/9"), 120)
        report(3, kl_nats_per_token=None)
        assert services.wait_until(lambda: has_said("3/9"), 120)
        with transaction() as session:
            leases.fail(session, claimed.lease, "the test is over")

        assert code.result(20) == 1
    assert "training  3/9  loss 0.500  rewards 0.10/-0.20  drift 0.031 nats/token" in output.splitlines()


def test_a_run_is_paused_resumed_and_what_is_not_allowed_is_a_409_that_says_what_is(api):
    run = start(api).json()

    def ask(what):
        return api.post(f"/v1/runs/{run['id']}/{what}", params=PROJECT)

    assert (ask("pause").status_code, ask("pause").json()["paused"]) == (202, True)
    assert ask("resume").json()["paused"] is False
    refused = ask("retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "illegal_transition")
    assert refused.json()["details"] == {"state": "queued", "allowed": ["cancel", "pause", "resume"]}
    ask("cancel")
    assert ask("pause").json()["details"] == {"state": "cancelled", "allowed": ["cancel", "reproduce", "retry"]}
    assert ask("reproduce").json()["code"] == "no_snapshot"
    again = ask("retry").json()
    assert (again["source"], again["source_run_id"], again["state"]) == ("retry", run["id"], "queued")


def test_a_second_run_waits_if_requested(api):
    first = start(api).json()

    second = start(api, queue=True)

    assert (second.status_code, second.json()["waiting"]) == (202, True)
    api.post(f"/v1/runs/{first['id']}/cancel", params=PROJECT)
    assert api.get(f"/v1/runs/{second.json()['id']}", params=PROJECT).json()["waiting"] is False


# -- under an Idempotency-Key -----------------------------------------------------------------------------------------


def start_once(api, key, **body):
    return api.post("/v1/runs", params=PROJECT, json=body, headers={"Idempotency-Key": key})


def test_the_same_request_with_the_same_key_is_done_once_and_answered_the_same(api):
    first = start_once(api, '"key-1"', note="once")
    second = start_once(api, "key-1", note="once", queue=False)

    assert (first.status_code, "Idempotency-Replayed" in first.headers) == (202, False)
    assert (second.status_code, second.headers["Idempotency-Replayed"]) == (202, "true")
    assert second.json() == first.json()
    assert len(api.get("/v1/runs", params=PROJECT).json()["items"]) == 1


def test_a_key_of_another_request_is_invalid_whether_body_or_operation_differs(api):
    run = start_once(api, "key-1").json()

    other_body = start_once(api, "key-1", note="another")
    other_operation = api.post(
        f"/v1/runs/{run['id']}/retry", params=PROJECT, headers={"Idempotency-Key": "key-1"}, json={}
    )

    assert [answer.status_code for answer in (other_body, other_operation)] == [422, 422]
    assert other_body.json()["code"] == other_operation.json()["code"] == "idempotency_key_reused"
    assert start_once(api, "").json()["code"] == "invalid_idempotency_key"


def test_what_was_refused_keeps_no_key_and_may_be_sent_again(api):
    active = start(api).json()
    assert start_once(api, "key-1").json()["code"] == "run_active"

    api.post(f"/v1/runs/{active['id']}/cancel", params=PROJECT)

    assert start_once(api, "key-1").status_code == 202


def test_a_request_whose_first_try_is_still_worked_on_is_a_conflict_at_once(api):
    with transaction() as session:  # of the first request
        idempotency.begin(session, idempotency.KeyedRequest("acme", "key-1", "POST /v1/runs", None))
        refused = start_once(api, "key-1")

    assert (refused.status_code, refused.json()["code"]) == (409, "request_in_flight")
    assert start_once(api, "key-1").status_code == 202


def test_keys_are_forgotten_after_a_week(api):
    run = start_once(api, "key-1").json()
    api.post(f"/v1/runs/{run['id']}/cancel", params=PROJECT)
    execute("UPDATE idempotency_keys SET created_at = now() - interval '6 days'")
    loop.tick()
    assert start_once(api, "key-1").json()["id"] == run["id"]

    execute("UPDATE idempotency_keys SET created_at = now() - interval '8 days'")
    loop.tick()

    assert start_once(api, "key-1").json()["id"] != run["id"]
