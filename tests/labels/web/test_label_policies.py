"""Label policies over HTTP: storage, adoption, previews, explanations, and the errors of an invalid one."""

from tests.desk import at_once
from tests.logged import register, store

PROJECT = {"project": "acme"}


def create(api, policy, note="", **how):
    return api.post("/v1/label-policies", params=PROJECT, json={"policy": policy, "note": note}, **how)


def adopt(api, version, **body):
    return api.post(f"/v1/label-policies/{version}/adopt", params=PROJECT, json=body)


def preview(api, **body):
    return api.post("/v1/label-policies/preview", params=PROJECT, json=body)


def get(api, path, **how):
    return api.get(path, params=PROJECT, **how)


def test_a_policy_is_stored_shown_whole_and_adopted(api):
    made = create(api, {"name": "support", "signals": {"copy": None}}, note="copying says little here")

    assert made.status_code == 201, made.text
    stored = made.json()
    assert (stored["version"], stored["adopted"], stored["created_by"]) == (1, False, "key first admin")
    assert stored["policy"]["signals"]["copy"] is None
    assert stored["policy"]["signals"]["thumbs"]["up"] == {"label": "desirable", "weight": 1.0}
    assert get(api, "/v1/label-policies/adopted").json()["version"] == 0

    entry = adopt(api, 1, reason="the preview was fine")
    assert entry.status_code == 201
    assert (entry.json()["number"], entry.json()["version"], entry.json()["by"]) == (1, 1, "key first admin")
    assert get(api, "/v1/label-policies/adopted").json() == get(api, "/v1/label-policies/1").json()
    assert [item["version"] for item in get(api, "/v1/label-policies").json()["items"]] == [1, 0]
    assert [item["reason"] for item in get(api, "/v1/label-policies/adoptions").json()["items"]] == [
        "the preview was fine"
    ]


def test_what_a_policy_is_shown_as_can_be_sent_back_and_is_the_same(api):
    first = create(api, {"name": "support"})

    again = create(api, first.json()["policy"], note="sent back")

    assert (again.status_code, again.json()) == (200, first.json())


def test_policies_that_come_at_once_never_share_a_version(api):
    made = at_once(8, lambda number: create(api, {"name": f"policy {number % 4}"}))

    assert sorted(answer.status_code for answer in made) == [200] * 4 + [201] * 4
    assert {answer.json()["version"] for answer in made} == {1, 2, 3, 4}


def test_pages_of_versions_end_with_the_default(api):
    for number in range(3):
        create(api, {"name": f"policy {number}"})

    first = api.get("/v1/label-policies", params={**PROJECT, "limit": 2}).json()
    second = api.get("/v1/label-policies", params={**PROJECT, "limit": 2, "cursor": first["next_cursor"]}).json()

    assert [item["version"] for item in first["items"] + second["items"]] == [3, 2, 1, 0]
    assert second["next_cursor"] is None
    for cursor in ("!", "OTk5OTk5OTk5OTk5OTk5OTk5OTk", first["next_cursor"] + "AAAA"):
        assert api.get("/v1/label-policies", params={**PROJECT, "cursor": cursor}).json()["code"] == "invalid_cursor"


def test_what_is_wrong_with_a_policy_is_named_by_pointer_and_rule_and_nothing_changes(api):
    wrong = {
        "/policy": "up",
        "/policy/signals/copy/weight": {"signals": {"copy": {"label": "desirable", "weight": 0}}},
        "/policy/precedence": {"precedence": ["thumbs"]},
        "/policy/signals/outcome/ok~1done/true/label": {"signals": {"outcome": {"ok/done": {"true": {}}}}},
    }
    for pointer, policy in wrong.items():
        for answer in (create(api, policy), preview(api, policy=policy)):
            assert answer.status_code == 422, answer.text
            assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]
            assert pointer in answer.json()["detail"]
    assert [item["version"] for item in get(api, "/v1/label-policies").json()["items"]] == [0]


def test_numbers_that_json_does_not_have_are_refused(api):
    body = '{"policy": {"guards": {"influence": {"actor": {"share": 0.1, "rows": Infinity}}}}}'

    refused = api.post("/v1/label-policies", params=PROJECT, content=body, headers={"Content-Type": "application/json"})

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/policy/guards/influence/actor/rows"


def test_a_preview_of_nothing_or_of_two_things_is_invalid(api):
    snapshot = "018f4c00-0000-7000-8000-000000000000"
    for body, message in (
        ({}, "either policy"),
        ({"version": 0, "policy": {}}, "either policy"),
        ({"version": 0, "days": 3, "snapshot_id": snapshot}, "either days or snapshot_id"),
        ({"version": -1}, "greater than or equal to 0"),
        ({"version": 2**40}, "less than or equal to"),
        ({"version": 0, "days": 0}, "greater than 0"),
        ({"version": 0, "days": "NaN"}, "3660"),
    ):
        refused = preview(api, **body)
        assert refused.status_code == 422
        assert message in refused.json()["detail"]


def test_versions_that_are_not_there_or_in_use_already_are_refused(api):
    assert get(api, "/v1/label-policies/3").json()["code"] == "label_policy_not_found"
    assert get(api, "/v1/label-policies/first").status_code == 422
    assert get(api, f"/v1/label-policies/{2**31}").status_code == 422
    assert adopt(api, 3).status_code == 404
    assert adopt(api, 0).json()["code"] == "label_policy_adopted_already"
    assert adopt(api, 0, reason="a\x00").status_code == 422
    assert preview(api, version=3).status_code == 404
    assert (
        preview(api, version=0, snapshot_id="018f4c00-0000-7000-8000-000000000000").json()["code"]
        == "snapshot_not_found"
    )


def test_only_an_admin_changes_what_a_thumb_means_and_only_readers_of_feedback_see_texts(api, key):
    runs, feedback = key("runs:read", "runs:write", project="acme"), key("feedback:read", project="acme")

    assert get(api, "/v1/label-policies", headers=runs).status_code == 200
    assert create(api, {"name": "x"}, headers=runs).status_code == 403
    assert api.post("/v1/label-policies/0/adopt", params=PROJECT, json={}, headers=runs).status_code == 403
    assert api.post("/v1/label-policies/preview", json={"version": 0}, headers=runs).status_code == 403
    assert api.post("/v1/label-policies/preview", json={"version": 0}, headers=feedback).status_code == 200


def thumb(completion_id, actor="ann", value="up"):
    return {
        "completion_id": completion_id,
        "actor": actor,
        "signal": {"kind": "thumbs", "value": value},
        "prompt": "Where is it?",
        "completion": f"Answer {completion_id}.",
    }


def test_a_preview_shows_counts_and_examples(api):
    store("acme", [thumb(f"c{number}") for number in range(12)] + [thumb("bad", value="down")])

    shown = preview(api, policy={"signals": {"thumbs": {"up": {"label": "undesirable"}}}}).json()

    assert (shown["completions"], shown["before"]["desirable"]["rows"], shown["after"]["undesirable"]["rows"]) == (
        13,
        12,
        13,
    )
    flips = {(flip["before"], flip["after"]): flip for flip in shown["flips"]}
    assert flips["desirable", "undesirable"]["completions"] == 12
    assert len(flips["desirable", "undesirable"]["examples"]) == 10
    assert flips["undesirable", "undesirable"]["examples"] == []


def test_a_label_is_explained_to_the_person_who_pressed_the_thumb(api):
    store("acme", [thumb("c1"), thumb("c1", "bob", "down"), thumb("c1", "cid")])

    shown = get(api, "/v1/completions/c1/label").json()

    assert (shown["label"], shown["weight"], shown["desirable"], shown["undesirable"]) == ("desirable", 1.0, 2.0, 1.0)
    assert [(one["actor"], one["says"], one["counts"]) for one in shown["signals"]] == [
        ("ann", "thumbs_up", True),
        ("bob", "thumbs_down", True),
        ("cid", "thumbs_up", True),
    ]
    assert get(api, "/v1/completions/c2/label").json()["code"] == "completion_not_found"


def test_an_id_may_hold_slashes_and_end_with_label_itself(api):
    store("acme", [thumb("a/b"), thumb("c/label")])
    register("acme", "c/label", {"prompt": "Hi", "completion": "Ho"})

    assert get(api, "/v1/completions/a%2Fb/label").json()["completion_id"] == "a/b"
    assert get(api, "/v1/completions/a/b/label").json()["completion_id"] == "a/b"
    assert get(api, "/v1/completions/c%2Flabel/label").json()["completion_id"] == "c/label"
    registered = get(api, "/v1/completions/c%2Flabel").json()
    assert (registered["completion_id"], registered["completion"]) == ("c/label", "Ho")
