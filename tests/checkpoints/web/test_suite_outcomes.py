"""The outcomes of a checkpoint's suites over HTTP, and on the status page."""

from pathlib import Path

import pytest

from app import artifacts
from app.suites.outcomes_file import OUTCOMES, write_outcomes
from tests.desk import finish, ready_to_finish, vote

PROJECT = {"project": "acme"}


def answer(output, verdict="passed"):
    score = {"passed": 1.0, "failed": 0.0}.get(verdict)
    return {"output": output, "cut_off": False, "verdict": verdict, "score": score, "reason": f"it {verdict}"}


def outcome(test):
    models = {"candidate": answer("no", "failed"), "shipped": answer("yes"), "ancestor": answer(None, "undecided")}
    return {"test": test, "description": "", "prompt_label": "1", **models}


@pytest.fixture
def checkpoint_id(api, tmp_path):
    api.patch("/v1/projects/acme", json={"snapshot": {"minimum_per_class": 5, "holdout_share": 0.3}})
    vote(40, project="acme")
    claimed = ready_to_finish(tmp_path, "acme")
    weights = tmp_path / "adapter_model.safetensors"
    weights.write_text("weights")
    write_outcomes(tmp_path / OUTCOMES, {"a/b": [outcome(test) for test in range(5)], "other": [outcome(0)]})
    share = {"value": 0.5, "low": 0.1, "high": 0.9}
    figures = {"version": 2, "tests": 5, "candidate": {"pass_share": share}, "shipped": {"pass_share": share}}
    return finish(
        claimed,
        tmp_path,
        files={weights.name: weights, OUTCOMES: tmp_path / OUTCOMES},
        scores={"suites": {"a/<b>": {**figures, "difference_to_shipped": {"value": None, "low": None, "high": None}}}},
    )


def test_outcomes_come_in_pages_in_the_order_of_the_tests(api, checkpoint_id):
    path = f"/v1/checkpoints/{checkpoint_id}/suites/a%2Fb"

    first = api.get(path, params={**PROJECT, "limit": 3}).json()
    second = api.get(path, params={**PROJECT, "limit": 3, "cursor": first["next_cursor"]}).json()

    assert [item["test"] for item in first["items"] + second["items"]] == [0, 1, 2, 3, 4]
    assert second["next_cursor"] is None
    assert first["items"][0] == outcome(0)


def test_what_is_unknown_damaged_or_of_another_project_is_an_error(api, checkpoint_id, key):
    path = f"/v1/checkpoints/{checkpoint_id}/suites"
    base = api.get("/v1/checkpoints", params=PROJECT).json()["items"][1]["id"]

    unknown = api.get(f"{path}/unheard", params=PROJECT)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "suite_not_found")
    assert "it ran a/b, other" in unknown.json()["detail"]
    assert "had no suites" in api.get(f"/v1/checkpoints/{base}/suites/other", params=PROJECT).json()["detail"]
    assert api.get(f"{path}/other", headers=key("feedback:read", project="acme")).status_code == 403
    assert api.get(f"{path}/other", params={**PROJECT, "cursor": "!"}).json()["code"] == "invalid_cursor"


def test_a_damaged_file_of_outcomes_is_refused(api, checkpoint_id):
    sha256 = api.get(f"/v1/checkpoints/{checkpoint_id}", params=PROJECT).json()["files"][OUTCOMES]
    path = Path(artifacts.path_of(sha256))
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)

    answer = api.get(f"/v1/checkpoints/{checkpoint_id}/suites/a%2Fb", params=PROJECT)

    assert (answer.status_code, answer.json()["code"]) == (503, "artifact_damaged")


def test_the_status_page_shows_the_suites_of_each_checkpoint(open_page, checkpoint_id):
    page = open_page.get("/?project=acme").text

    assert "suites: 1" in page
    assert "a/&lt;b&gt;" in page
    assert "<td>0.500 (0.100 to 0.900)</td>" in page
