"""HTTP, status page, event stream and CLI all show that a full disk delays a run."""

import json

from fastapi.testclient import TestClient
from thumbwheel import wire

from app.cli import runs as cli
from app.database import transaction
from app.runs.full_disk import service as full_disk
from tests.desk import claim, vote

REASON = "the disk that holds /work is full: make room there"


def test_a_run_that_waits_for_room_on_a_disk_says_so_everywhere(open_page: TestClient) -> None:
    api = open_page
    rules = {"minimum_per_class": 5, "holdout_share": 0.3}
    assert api.patch("/v1/projects/acme", json={"snapshot": rules}).status_code == 200
    vote(40, project="acme")
    run = wire.Run.model_validate(api.post("/v1/runs", params={"project": "acme"}, json={}).json())
    lease = claim(run.id).lease
    with transaction() as session:
        full_disk.hold_up(session, lease, "the disk that holds /work")

    shown = wire.Run.model_validate(api.get(f"/v1/runs/{run.id}", params={"project": "acme"}).json())
    page = api.get("/", params={"project": "acme"}).text

    assert shown.held_up_by == REASON
    assert shown.held_up_since is not None
    assert shown.next_attempt_at is not None
    assert shown.next_attempt_at > shown.held_up_since
    assert f": {REASON}; then it continues automatically, at the latest at {shown.next_attempt_at:%T} UTC." in page
    assert cli.held_up_in_words(shown).startswith(f"{REASON} (since ")

    api.post(f"/v1/runs/{run.id}/cancel", params={"project": "acme"})
    stream = api.get(f"/v1/runs/{run.id}/events", params={"project": "acme"}).text
    events = [json.loads(line.removeprefix("data: ")) for line in stream.splitlines() if line.startswith("data: ")]
    assert any(event.get("reason", "").startswith("given back, as the disk") for event in events if event.get("reason"))
