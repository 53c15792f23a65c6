"""Retention and legal holds over HTTP."""

import pytest

from app.database import transaction
from app.privacy.retention import service as retention
from tests.privacy.rows.test_retention import OLD, execute, received, thumb

PATH = "/v1/projects/acme/retention"


@pytest.fixture(autouse=True)
def _old_month(api):
    received(OLD, [thumb(1), thumb(2)], "acme")
    yield
    execute("DROP TABLE IF EXISTS events_2024_03")


def test_a_rule_is_previewed_set_and_shown_with_what_it_deleted(api, open_page):
    preview = api.get(f"{PATH}/preview", params={"months": 13}).json()
    assert [(each["month"], each["events"]) for each in preview["months"]] == [("2024-03", 2)]
    assert api.get(PATH).json()["rules"] == {"months": None, "snapshots": "redact"}

    changed = api.patch("/v1/projects/acme", json={"retention": {"months": 13, "snapshots": "keep"}}).json()
    assert changed["retention"] == {"months": 13, "snapshots": "keep"}
    with transaction() as session:
        retention.plan(session)
    under_way = api.get(PATH).json()["unfinished"]
    for _ in range(8):
        retention.advance(under_way[0]["id"])

    shown = api.get(PATH).json()
    assert (shown["months"], shown["events"], shown["unfinished"]) == (1, 2, [])
    [month] = api.get(f"{PATH}/months").json()["items"]
    assert api.get(f"{PATH}/months/{month['id']}").json() == month
    assert "so far 2 events of 1 months" in open_page.get("/", params={"project": "acme"}).text
    receipt = api.get("/v1/feedback/e1/receipt", params={"project": "acme"}).json()
    assert receipt["detail"] == "Event e1 was erased or has expired: only its id is left."


@pytest.mark.parametrize("rules", [{"months": 0}, {"months": 13, "snapshots": "drop"}])
def test_a_wrong_rule_names_its_field(api, rules):
    answer = api.patch("/v1/projects/acme", json={"retention": rules})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("/retention/")


def test_holds_are_placed_listed_and_released_and_an_erasure_says_that_it_waits(api):
    new = {"actor": "ann", "reason": "case 4 O 12/26"}
    hold = api.post("/v1/holds", params={"project": "acme"}, json=new)
    assert hold.status_code == 201

    erasure = api.delete("/v1/actors", params={"project": "acme", "actor": "ann"})
    assert (erasure.status_code, erasure.json()["held"][0]["hold_id"]) == (202, hold.json()["id"])

    path = f"/v1/holds/{hold.json()['id']}"
    released = api.post(f"{path}/release", params={"project": "acme"}, json={"reason": "settled"}).json()
    assert (released["in_force"], released["release_reason"]) == (False, "settled")
    assert api.get("/v1/holds", params={"project": "acme"}).json()["items"] == [released]
    assert api.get(path, params={"project": "acme"}).json() == released


def test_a_hold_has_one_subject(api):
    new = {"actor": "ann", "completion_id": "c1", "reason": "x"}

    answer = api.post("/v1/holds", params={"project": "acme"}, json=new)

    assert answer.status_code == 422
    assert "not both" in answer.json()["detail"]


def test_a_copied_row_from_before_every_log_is_refused_with_its_field(api):
    row = '{"event_id":"x","completion_id":"c","actor":"a","signal":{"kind":"copy"},"position":9,"received_at":"%s"}'

    answers = [
        api.post(
            "/v1/log", params={"project": "acme"}, content=row % at, headers={"Content-Type": "application/x-ndjson"}
        )
        for at in ("2019-12-31T23:59:59Z", "2099-01-01T00:00:00Z")
    ]

    assert [answer.status_code for answer in answers] == [422, 422]
    assert "received_at" in answers[0].json()["detail"]
    assert "before 2020" in answers[0].json()["detail"]
    assert execute("SELECT to_regclass('events_2019_12'), to_regclass('events_2099_01')") == [(None, None)]
