"""Browser keys: what a page may send, from where, and how often."""

from uuid import uuid4

import pytest

from app import services
from app.access import rate_limiter
from app.access.rate_limiter import RateLimiter

PAGE = "https://shop.example.com"


@pytest.fixture
def browser_key(api):
    """Creates a browser key and returns the headers of a page that uses it."""

    def make(**limits):
        new = {"name": "page", "scopes": ["feedback:write"], "project": "acme", "origins": [PAGE]}
        created = api.post("/v1/keys", json={**new, **({"limits": limits} if limits else {})})
        assert created.status_code == 201, created.text
        assert created.json()["secret"].startswith("twb_")
        return {"Authorization": f"Bearer {created.json()['secret']}", "Origin": PAGE}

    return make


def thumb(**other):
    return {
        "event_id": str(uuid4()), "completion_id": "c1", "actor": "u1", "signal": {"kind": "thumbs", "value": "up"},
        **other,
    }  # fmt: skip


def test_a_preflight_is_answered_without_a_key_and_only_for_single_events(api):
    asked = {"Authorization": "", "Origin": PAGE, "Access-Control-Request-Method": "POST"}

    answer = api.options("/v1/feedback", headers=asked)
    elsewhere = api.options("/v1/runs", headers=asked)

    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert answer.headers["Access-Control-Allow-Methods"] == "POST"
    assert answer.headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Origin" not in elsewhere.headers


def test_a_page_of_an_allowed_origin_sends_thumbs_and_reads_the_answers_errors_too(api, browser_key):
    headers = browser_key()

    stored = api.post("/v1/feedback", headers=headers, json=thumb())
    faulty = api.post("/v1/feedback", headers=headers, json=thumb(actor=""))
    elsewhere = api.post("/v1/feedback", headers={**headers, "Origin": "https://evil.example"}, json=thumb())
    program = api.post("/v1/feedback", headers={"Authorization": headers["Authorization"]}, json=thumb())

    assert (stored.status_code, stored.headers["Access-Control-Allow-Origin"]) == (201, PAGE)
    assert stored.headers["RateLimit-Policy"] == '"actor";q=30;w=60, "address";q=120;w=60'
    assert stored.headers["RateLimit"].startswith('"actor";r=29;t=')
    assert (faulty.status_code, faulty.headers["Access-Control-Allow-Origin"]) == (422, PAGE)
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (403, "other_origin")
    assert (program.status_code, program.json()["code"]) == (403, "other_origin")


def test_a_browser_key_opens_nothing_else(api, browser_key):
    headers = browser_key()
    calls = [
        ("POST", "/v1/feedback/batch", [thumb()]), ("PUT", "/v1/completions/c1", {"prompt": "p", "completion": "c"}),
        ("POST", "/v1/completions/batch", [{"completion_id": "c1", "prompt": "p", "completion": "c"}]),
        ("GET", "/v1/feedback", None), ("GET", "/v1/projects", None), ("GET", "/v1/releases/current", None),
        ("POST", "/v1/runs", {}), ("GET", "/v1/keys", None),
    ]  # fmt: skip
    for method, path, body in calls:
        answer = api.request(method, path, headers=headers, **({} if body is None else {"json": body}))

        assert (answer.status_code, answer.json()["code"]) == (403, "browser_key"), path
        assert "Access-Control-Allow-Origin" not in answer.headers or path == "/v1/feedback"


@pytest.mark.parametrize(
    ("other", "pointer"),
    [
        ({"prompt": "p", "completion": "c"}, "/prompt"),
        ({"conversation_id": "k"}, "/conversation_id"),
        ({"checkpoint_id": str(uuid4())}, "/checkpoint_id"),
        ({"origin": "import"}, "/origin"),
        ({"signal": {"kind": "outcome", "name": "solved", "value": True}}, "/signal/kind"),
    ],
)
def test_a_page_brings_no_texts_of_a_model_and_no_facts_of_the_product(api, browser_key, other, pointer):
    answer = api.post("/v1/feedback", headers=browser_key(), json=thumb(**other))

    assert (answer.status_code, answer.json()["code"]) == (422, "not_from_a_browser")
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_a_key_with_origins_needs_a_project_and_one_scope(api):
    new = {"name": "page", "origins": [PAGE]}

    for other in ({"scopes": ["feedback:write"]}, {"scopes": ["feedback:write", "admin"], "project": "acme"}):
        assert api.post("/v1/keys", json={**new, **other}).status_code == 422


def test_a_limit_that_is_left_out_is_the_usual_one_and_null_is_none(api):
    new = {"name": "page", "scopes": ["feedback:write"], "project": "acme", "origins": [PAGE]}

    created = api.post("/v1/keys", json={**new, "limits": {"actor_per_minute": None, "per_minute": 900}}).json()

    assert {name for name in created["limits"] if created["limits"][name] is not None} == {
        "per_minute", "address_per_minute",
    }  # fmt: skip
    assert (created["limits"]["per_minute"], created["limits"]["address_per_minute"]) == (900, 120)


def test_one_actor_is_limited_and_others_are_not(api, browser_key):
    headers = browser_key(actor_per_minute=2)

    answers = [api.post("/v1/feedback", headers=headers, json=thumb()) for _ in range(3)]
    other = api.post("/v1/feedback", headers=headers, json=thumb(actor="u2"))

    assert [answer.status_code for answer in answers] == [201, 201, 429]
    refused = answers[-1]
    assert refused.json()["details"]["limit"] == "actor"
    assert 0 < int(refused.headers["Retry-After"]) <= 120
    assert refused.headers["RateLimit"].startswith('"actor";r=0;t=')
    assert refused.headers["Access-Control-Allow-Origin"] == PAGE
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert other.status_code == 201


def test_the_limits_of_a_project_hold_for_batches_of_every_key_together(api, key):
    api.patch("/v1/projects/acme", json={"limits": {"per_minute": 3}})
    first, second = key("feedback:write", project="acme"), key("feedback:write", project="acme")

    batch = api.post("/v1/feedback/batch", headers=first, json=[thumb() for _ in range(5)])
    event = api.post("/v1/feedback", headers=second, json=thumb())

    assert (batch.status_code, batch.json()["stored"]) == (200, 5)
    assert batch.headers["RateLimit"].startswith('"project";r=0;t=')
    assert (event.status_code, event.json()["details"]["limit"]) == (429, "project")


def test_the_events_of_a_batch_count_for_their_actors_and_those_above_the_limit_are_refused(api, key):
    api.patch("/v1/projects/acme", json={"limits": {"actor_per_minute": 3}})
    headers = key("feedback:write", project="acme")
    events = [*(thumb() for _ in range(5)), thumb(actor="u2"), *(thumb(origin="import") for _ in range(4))]

    batch = api.post("/v1/feedback/batch", headers=headers, json=events)
    again = api.post("/v1/feedback/batch", headers=headers, json=[thumb(), thumb(actor="u2")])
    single = api.post("/v1/feedback", headers=headers, json=thumb())

    assert (batch.status_code, batch.json()["stored"], batch.json()["rejected"]) == (207, 8, 2)
    limited = [item for item in batch.json()["items"] if item["status"] == "rate_limited"]
    assert [item["index"] for item in limited] == [3, 4]
    assert all(0 < item["retry_after_seconds"] <= 120 for item in limited)
    assert [item["status"] for item in again.json()["items"]] == ["rate_limited", "stored"]
    assert (single.status_code, single.json()["details"]["limit"]) == (429, "project-actor")


def test_while_redis_is_away_every_event_is_taken(api, browser_key, monkeypatch):
    headers = browser_key(actor_per_minute=1)
    away = RateLimiter(f"redis://127.0.0.1:{services.free_port()}/0")
    monkeypatch.setattr(rate_limiter, "REST_SECONDS", 0)
    monkeypatch.setattr(api.app.state.receiver, "_limiter", away)

    answers = [api.post("/v1/feedback", headers=headers, json=thumb()) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert "RateLimit" not in answers[0].headers
