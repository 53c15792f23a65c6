"""Suites of a project over HTTP: storage, adoption, pages, permissions, and the errors of an invalid one."""

from app.suites import own

PROJECT = {"project": "acme"}


def document(name="support", word="yes"):
    test = {"vars": {"q": "Is it open?"}, "assert": [{"type": "icontains", "value": word}]}
    return {"name": name, "prompts": ["{{q}}"], "tests": [test]}


def create(api, suite, note="", **how):
    return api.post("/v1/suites", params=PROJECT, json={"suite": suite, "note": note}, **how)


def decide(api, **body):
    return api.post("/v1/suites/adoptions", params=PROJECT, json=body)


def get(api, path, **how):
    return api.get(path, params=PROJECT, **how)


def test_a_suite_is_stored_shown_whole_adopted_and_dropped(api):
    stored = create(api, document(), note="opening hours")
    again = create(api, document())

    assert (stored.status_code, again.status_code) == (201, 200), stored.text
    assert again.json() == stored.json()
    assert (stored.json()["version"], stored.json()["samples"], stored.json()["created_by"]) == (
        1,
        1,
        "key first admin",
    )
    assert "suite" not in stored.json()
    whole = get(api, "/v1/suites/support/versions/1").json()
    assert whole["suite"]["tests"][0]["assert"][0]["value"] == "yes"
    assert create(api, whole["suite"]).status_code == 200

    entry = decide(api, name="support", version=1, reason="agreed")
    assert (entry.status_code, entry.json()["number"], entry.json()["by"]) == (201, 1, "key first admin")
    assert get(api, "/v1/suites/adopted").json() == [{**stored.json(), "adopted": True}]
    assert decide(api, name="support", version=1).json()["code"] == "suite_adopted_already"
    assert decide(api, name="support", drop=True).json()["version"] is None
    assert decide(api, name="support", drop=True).status_code == 409
    assert [item["version"] for item in get(api, "/v1/suites/adoptions").json()["items"]] == [None, 1]


def test_pages_have_the_versions_by_name_with_those_of_the_server(api):
    for name, word in (("a first", "x"), ("refusal", "x"), ("support/desk", "x"), ("support/desk", "y")):
        assert create(api, document(name, word)).status_code == 201

    pages, cursor = [], None
    while True:
        page = api.get("/v1/suites", params={**PROJECT, "limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        pages.append([(item["name"], item["version"]) for item in page["items"]])
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert [item for page in pages for item in page] == [
        ("a first", 1), ("instruction-format", 0), ("invented-promises", 0),
        ("refusal", 1), ("refusal", 0), ("support/desk", 2), ("support/desk", 1), ("sycophancy", 0),
    ]  # fmt: skip
    assert [len(page) for page in pages] == [3, 3, 2]
    assert get(api, "/v1/suites/support%2Fdesk/versions/2").json()["name"] == "support/desk"
    assert get(api, "/v1/suites/refusal/versions/0").json()["suite"]["name"] == "refusal"
    for cursor in ("!", "MSA", "OTk5OTk5OTk5OTk5OTk5OTk5OTk"):
        assert api.get("/v1/suites", params={**PROJECT, "cursor": cursor}).json()["code"] == "invalid_cursor"


def test_the_faults_of_a_suite_are_named_by_pointer_and_rule_and_nothing_changes(api):
    loose = document()
    loose["tests"][0]["vars"] = {}
    exploding = document()
    exploding["tests"][0]["assert"] = [{"type": "regex", "value": "(?=a)b"}]
    unknown = document()
    unknown["tests"][0]["assert"] = [{"type": "is-kind"}]
    wrong = {
        "/suite/tests/0/vars": loose,
        "/suite/tests/0/assert/0/value": exploding,
        "/suite/tests/0/assert/0/type": unknown,
        "/suite/prompts": {**document(), "prompts": []},
    }
    for pointer, suite in wrong.items():
        answer = create(api, suite)
        assert answer.status_code == 422, answer.text
        assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]
        assert pointer in answer.json()["detail"]
    assert len(get(api, "/v1/suites").json()["items"]) == len(own.names())


def test_a_body_that_neither_adopts_nor_drops_and_a_suite_that_is_too_large_are_refused(api):
    for body in ({"name": "refusal"}, {"name": "refusal", "version": 0, "drop": True}, {"name": "x", "version": -1}):
        assert decide(api, **body).status_code == 422
    assert decide(api, name="refusal", version=7).json()["code"] == "suite_not_found"
    assert get(api, "/v1/suites/unheard/versions/1").status_code == 404
    large = document()
    large["description"] = "x" * 2**20
    assert create(api, large).status_code == 413


def test_readers_see_suites_and_only_an_admin_changes_them(api, key):
    reader = key("runs:read", project="acme")

    assert get(api, "/v1/suites", headers=reader).status_code == 200
    assert create(api, document(), headers=reader).status_code == 403
    refused = api.post("/v1/suites/adoptions", json={"name": "refusal", "version": 0}, headers=reader)
    assert refused.status_code == 403


def test_a_project_says_which_suites_of_the_server_it_begins_with(api):
    new = {"project": "other", "base_model": "/models/base"}

    unknown = api.post("/v1/projects", json={**new, "suites": ["reefusal"]})
    api.post("/v1/projects", json={**new, "suites": ["refusal"]})

    assert (unknown.status_code, unknown.json()["errors"][0]["pointer"]) == (422, "/suites/0")
    adopted = api.get("/v1/suites/adopted", params={"project": "other"}).json()
    assert [(item["name"], item["version"]) for item in adopted] == [("refusal", 0)]
