"""Vote links: one vote of one actor on one completion, without a key; opening a link stores nothing."""

from urllib.parse import urlsplit

import pytest

from app.feedback.vote_links import service


@pytest.fixture
def link(api):
    """Creates a link and returns its body with the path of its page."""

    def make(**other):
        answer = api.post("/v1/vote-links?project=acme", json={"completion_id": "c1", "actor": "u1", **other})
        assert answer.status_code == 201, answer.text
        return {**answer.json(), "path": urlsplit(answer.json()["url"]).path}

    return make


def vote(api, path, value="up"):
    return api.post(path, headers={"Authorization": ""}, data={"value": value})


def stored(api):
    return api.get("/v1/feedback?project=acme").json()["items"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_opening_a_link_stores_nothing(api, link, method):
    answer = api.request(method, link()["path"], headers={"Authorization": "", "Purpose": "prefetch"})

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "form-action 'self'" in answer.headers["Content-Security-Policy"]
    assert stored(api) == []


def test_the_form_stores_one_vote_and_a_second_press_nothing_more(api, link):
    made = link()

    first, again, other = (vote(api, made["path"], value) for value in ("up", "up", "down"))

    assert (first.status_code, again.status_code, other.status_code) == (200, 200, 409)
    [event] = stored(api)
    assert event["event_id"] == made["event_id"]
    assert (event["completion_id"], event["actor"]) == ("c1", "u1")
    assert event["signal"] == {"kind": "thumbs", "value": "up"}


def test_votes_count_for_the_limits_of_the_project_and_its_actors(api, link):
    api.patch("/v1/projects/acme", json={"limits": {"actor_per_minute": 1}})

    first, again = (vote(api, link()["path"]) for _ in range(2))
    other = vote(api, link(actor="u2")["path"])

    assert (first.status_code, again.status_code, other.status_code) == (200, 429, 200)
    assert 0 < int(again.headers["Retry-After"]) <= 120
    assert "too many votes" in again.text
    assert len(stored(api)) == 2


def test_a_form_without_a_vote_stores_nothing(api, link):
    assert vote(api, link()["path"], "sideways").status_code == 422
    assert stored(api) == []


def test_a_revoked_link_takes_no_vote(api, link):
    made = link()

    first = api.delete(f"/v1/vote-links/{made['id']}?project=acme")
    again = api.delete(f"/v1/vote-links/{made['id']}?project=acme")

    assert first.json() == again.json()
    assert vote(api, made["path"]).status_code == 410
    assert api.get(made["path"]).status_code == 410
    assert stored(api) == []


def test_an_expired_link_takes_no_vote(api, link, monkeypatch):
    made = link(valid_hours=1)
    now = service.now
    monkeypatch.setattr(service, "now", lambda: now() + service.timedelta(hours=2))

    assert vote(api, made["path"]).status_code == 410


def test_a_link_that_nobody_signed_is_unknown(api, link):
    path = link()["path"]

    for changed in ("/vote/nonsense", path[:-4] + "AAAA", "/vote/" + "A" * 6000):
        assert vote(api, changed).status_code == 404


def test_links_of_an_earlier_secret_end_with_the_overlap(api, link):
    first = link()
    api.post("/v1/vote-links/rotate?project=acme", json={"overlap_hours": 1})
    second = link()

    assert api.get(first["path"]).status_code == api.get(second["path"]).status_code == 200
    assert api.post("/v1/vote-links/rotate?project=acme", json={"overlap_hours": 0}).json()["number"] == 3
    assert api.get(first["path"]).status_code == api.get(second["path"]).status_code == 404
    assert api.get(link()["path"]).status_code == 200


def test_a_browser_key_creates_no_links(api):
    origins = ["https://shop.example.com"]
    new = {"name": "page", "scopes": ["feedback:write"], "project": "acme", "origins": origins}
    secret = api.post("/v1/keys", json=new).json()["secret"]

    answer = api.post(
        "/v1/vote-links",
        headers={"Authorization": f"Bearer {secret}", "Origin": origins[0]},
        json={"completion_id": "c1", "actor": "u1"},
    )

    assert (answer.status_code, answer.json()["code"]) == (403, "browser_key")
