"""The markup of the status page: the keys that open it, and its content in each state of a project."""

import re
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from app.database import transaction
from app.labels import service as labels
from app.runs.leases import service as leases
from tests.desk import claim, request, vote


def thumb(number: int) -> dict[str, object]:
    return {
        "completion_id": f"c-{number}",
        "actor": "somebody",
        "prompt": "Hello?",
        "completion": "Good day.",
        "signal": {"kind": "thumbs", "value": "up"},
    }


def test_without_a_key_the_page_asks_for_one(api: TestClient) -> None:
    answer = api.get("/", headers={"Authorization": ""})

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic")


BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_a_person_gets_errors_as_pages_and_a_program_gets_problems(api: TestClient) -> None:
    person = api.get("/", headers={"Authorization": "", **BROWSER})
    missing = api.get("/nowhere", headers=BROWSER)
    program = api.get("/nowhere")
    api_of_a_person = api.get("/v1/nowhere", headers=BROWSER)

    assert (person.status_code, missing.status_code) == (401, 404)
    for page in (person, missing):
        assert page.headers["content-type"].startswith("text/html")
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert person.headers["www-authenticate"].startswith("Basic")
    assert "keys first --replace" in person.text
    assert program.headers["content-type"] == "application/problem+json"
    assert api_of_a_person.headers["content-type"] == "application/problem+json"


def test_every_page_runs_its_own_files_alone_and_loads_nothing_from_elsewhere(open_page: TestClient) -> None:
    for path in ("/", "/docs", "/nowhere"):
        page = open_page.get(path, headers=BROWSER)
        scripts = re.findall(r"<script[^>]*>", page.text)
        loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert page.headers["x-content-type-options"] == "nosniff"
        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert all('src="/' in script for script in scripts)
        assert all(address.startswith("/") for address in loaded), path
        for address in loaded:
            assert open_page.get(address).status_code == 200, address
    assert open_page.get("/redoc").status_code == 404


def test_an_archived_project_is_shown_as_such(open_page: TestClient) -> None:
    open_page.patch("/v1/projects/acme", json={"archived": True})

    page = open_page.get("/?project=acme").text

    assert "(archived)" in page
    assert "takes no feedback and starts no runs" in page


def test_an_api_key_as_the_password_opens_the_page(api: TestClient, admin_key: str) -> None:
    answer = api.get("/", auth=("anybody", admin_key))

    assert answer.status_code == 200
    assert "acme" in answer.text


def test_a_key_that_may_only_write_feedback_does_not_open_the_page(
    api: TestClient, key: Callable[..., dict[str, str]]
) -> None:
    secret = key("feedback:write")["Authorization"].removeprefix("Bearer ")

    assert api.get("/", auth=("anybody", secret)).status_code == 401


def test_the_key_of_a_project_shows_that_project_alone(api: TestClient, key: Callable[..., dict[str, str]]) -> None:
    assert api.post("/v1/projects", json={"project": "other", "base_model": "/models/x"}).status_code == 201
    secret = key("runs:read", project="acme")["Authorization"].removeprefix("Bearer ")

    own = api.get("/", auth=("anybody", secret))

    assert own.status_code == 200
    assert "other" not in own.text
    assert api.get("/?project=other", auth=("anybody", secret)).status_code == 403


def test_a_project_with_labels_shows_their_counts_and_what_is_missing(open_page: TestClient) -> None:
    for number in range(3):
        assert open_page.post("/v1/feedback?project=acme", json=thumb(number)).status_code == 201

    page = open_page.get("/?project=acme").text

    assert "<td>for the next run</td><td>3</td><td>0</td>" in page
    assert "Not enough for a run" in page
    assert "the base model" in page


def test_labels_of_a_large_log_that_was_never_read_are_said_to_come(
    open_page: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "SMALL", 1)
    for number in range(3):
        open_page.post("/v1/feedback?project=acme", json=thumb(number))

    page = open_page.get("/?project=acme")
    readiness = open_page.get("/v1/projects/acme/readiness")

    assert page.status_code == 200
    assert "The log is being read" in page.text
    assert readiness.status_code == 503
    assert readiness.json()["code"] == "readiness_pending"


def test_a_run_is_plotted_with_the_drift_that_was_measured_on_the_way(open_page: TestClient) -> None:
    rules = {"minimum_per_class": 5, "holdout_share": 0.3}
    assert open_page.patch("/v1/projects/acme", json={"snapshot": rules}).status_code == 200
    vote(40, project="acme")
    claimed = claim(request("acme").id)
    line = {"loss": 0.5, "loss_desirable": None, "loss_undesirable": None, "z0": None, "kl_nats_per_token": None}

    def tell(step: int, **figures: float) -> str:
        with transaction() as session:
            leases.report(session, claimed.lease, leases.Report(metrics=[{**line, "step": step, **figures}]))
        return open_page.get("/?project=acme").text

    assert "Drift from the reference" not in tell(1)
    page = tell(2, kl_nats_per_token=0.031)

    assert "Drift from the reference, nats per token: KL ends at 0.031" in page
    assert "Reference point z0" not in page


def test_an_unknown_project_is_404(open_page: TestClient) -> None:
    assert open_page.get("/?project=nobody").status_code == 404


def test_without_any_project_the_page_says_how_to_make_one(open_page: TestClient, database: str) -> None:
    from sqlalchemy import text

    with transaction() as session:
        session.execute(text("TRUNCATE projects CASCADE"))

    assert "thumbwheel projects create" in open_page.get("/").text


def test_the_page_runs_nothing_but_its_own_files(open_page: TestClient) -> None:
    policy = open_page.get("/").headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert open_page.get("/static/page.js").status_code == 200
