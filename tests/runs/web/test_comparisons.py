"""Comparisons and sweeps over HTTP: accepted once, followed, cancelled; bad input is named with its remedy."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.desk import claim, execute, vote

PROJECT = {"project": "acme"}


@pytest.fixture(autouse=True)
def _enough(api: TestClient) -> None:
    rules = {"minimum_per_class": 5, "holdout_share": 0.3}
    assert api.patch("/v1/projects/acme", json={"snapshot": rules}).status_code == 200
    vote(40, project="acme")


def test_a_comparison_is_accepted_followed_and_cancelled(api: TestClient) -> None:
    body = {"arms": ["kto", {"name": "mild", "changes": {"beta": 0.4}}, "untouched"], "note": "which one"}

    started = api.post("/v1/comparisons", params=PROJECT, json=body)

    assert started.status_code == 202, started.text
    job = started.json()
    path = f"/v1/comparisons/{job['id']}"
    assert (job["kind"], job["state"], job["runs_planned"], job["by"]) == (
        "comparison",
        "running",
        2,
        "key first admin",
    )
    assert [arm["changes"] for arm in job["arms"]] == [{}, {"beta": 0.4}, {}]
    assert job["notices"][0] == "0 of 2 runs have ended: nothing is decided yet."
    assert api.get(path, params=PROJECT).json() == job
    assert api.get("/v1/comparisons", params=PROJECT).json()["items"] == [job]
    run = job["arms"][0]["runs"][0]["run_id"]
    assert api.get(f"/v1/runs/{run}", params=PROJECT).json()["group_id"] == job["id"]

    cancelled = api.post(f"{path}/cancel", params=PROJECT)

    assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelled")
    assert api.get(f"/v1/runs/{run}", params=PROJECT).json()["state"] == "cancelled"


def test_a_request_with_a_key_takes_effect_once(api: TestClient) -> None:
    def send(path: str, body: dict[str, Any]) -> Any:
        return api.post(path, params=PROJECT, json=body, headers={"Idempotency-Key": "k1"})

    first, second = (send("/v1/sweeps", {"space": {"beta": [0.1, 0.2]}}) for _ in range(2))
    other = send("/v1/comparisons", {"arms": ["kto", "sft"]})

    assert first.json() == second.json()
    assert second.headers["Idempotency-Replayed"] == "true"
    assert other.json()["code"] == "idempotency_key_reused"
    assert execute("SELECT count(*) FROM comparisons")[0][0] == execute("SELECT count(*) FROM runs")[0][0] == 1


#: Path, body, status, pointer, and a part of the remedy.
BAD: list[tuple[str, dict[str, Any], int, str | None, str]] = [
    ("comparisons", {"arms": ["kto", "ppo2"]}, 422, "/arms/1", "take one of kto, dpo"),
    ("comparisons", {"arms": ["kto", "kto"]}, 422, "", "give each arm a name of its own"),
    ("comparisons", {"arms": ["kto"]}, 422, "/arms", "at least 2"),
    ("comparisons", {"arms": ["kto", {"name": "s", "base_model": "m"}]}, 422, "/arms/1/base_model", "relative path"),
    ("comparisons", {"arms": ["kto", {"name": "hot", "changes": {"beta": -1}}]}, 422, "/arms/1", "over 0"),
    ("comparisons", {"arms": ["kto", {"name": "a", "changes": {"batch_size": 31}}]}, 422, "/arms/1", "no multiple"),
    ("comparisons", {"arms": ["kto", "sft"], "seeds": 11}, 422, "/seeds", "less than or equal to 10"),
    ("comparisons", {"arms": ["kto", "sft"], "budget": {"votes": 5}}, 422, "/budget/votes", "give 32 at least"),
    ("comparisons", {"arms": ["kto", "dpo"]}, 409, None, "dpo: no two completions of one prompt were compared"),
    ("sweeps", {"space": {"betta": [0.1]}}, 422, "/space/betta", "did you mean beta?"),
    ("sweeps", {"space": {"beta": [0.1, "high"]}}, 422, "/space/beta", "'high'"),
    ("sweeps", {"space": {"beta": [0.1]}, "search": "random"}, 422, "", "needs a number of points"),
    ("sweeps", {"space": {"epochs": list(range(1, 40)), "seed": [1, 2]}}, 422, "/space", "take fewer values"),
]


def test_bad_input_is_named_with_its_remedy_and_changes_nothing(api: TestClient) -> None:
    for path, body, status, pointer, remedy in BAD:
        refused = api.post(f"/v1/{path}", params=PROJECT, json=body)

        assert refused.status_code == status, (body, refused.text)
        problem = refused.json()
        assert remedy in refused.text, body
        if pointer is not None:
            assert any(error["pointer"].startswith(pointer) for error in problem["errors"]), (body, problem)
    assert execute("SELECT FROM comparisons") == execute("SELECT FROM runs") == []


def test_the_page_shows_the_arms_with_a_table_and_a_plot(open_page: TestClient) -> None:
    assert "There is no comparison yet" in open_page.get("/comparisons?project=acme").text
    job = open_page.post("/v1/comparisons", params=PROJECT, json={"arms": ["kto", "untouched"]}).json()
    claim(job["arms"][0]["runs"][0]["run_id"])

    page = open_page.get(f"/comparisons?project=acme&comparison={job['id']}")

    assert page.status_code == 200
    assert "1 snapshotting" in page.text
    assert "no training: it is the reference" in page.text
    assert '<svg viewBox="0 0 360 140" role="img" aria-label="Held-out AUROC against drift' in page.text
    assert open_page.get("/comparisons?project=acme&comparison=00000000-0000-0000-0000-000000000001").status_code == 404
    assert "/comparisons?project=acme" in open_page.get("/?project=acme").text
