"""Changes in a project become events of the documented types, in the transaction of the change."""

from uuid import UUID

import pytest
from thumbwheel import wire

from app.database import transaction
from app.labels.quarantine import service as quarantine
from app.labels.summaries import service as summaries
from app.loop import service as loop
from app.privacy.erasures import service as erasures
from app.releases import service as releases
from app.runs import commands
from app.runs.leases import service as leases
from app.runs.states import RunState, TransitionKind
from app.runs.transitions.webhook_types import TYPES, UNFORESEEN, type_of
from app.webhooks.endpoints import service as endpoints
from tests import desk
from tests.desk import DESK, execute, make_project, vote
from tests.labels.rows.test_quarantine import thumbs
from tests.logged import store

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(autouse=True)
def endpoint() -> UUID:
    make_project()
    with transaction() as session:
        new = wire.NewWebhookEndpoint(url="https://ops.example/hook")
        return endpoints.create(session, DESK, new, "key test").id


def events() -> list[wire.AnyWebhook]:
    """Returns the events since the last call, oldest first, read as their types."""
    rows = execute("SELECT payload FROM webhook_events ORDER BY id")
    execute("DELETE FROM webhook_events")
    return [wire.webhook_of(payload) for (payload,) in rows]


def types() -> list[str]:
    return [event.type for event in events()]


def test_a_run_tells_its_history_its_checkpoint_and_the_verdict(tmp_path):
    vote()
    claimed = desk.ready_to_finish(tmp_path)
    checkpoint_id = desk.finish(claimed, tmp_path, reasons=["auroc: too low: collect more feedback"])

    found = events()
    assert [event.type for event in found] == [
        "run.requested", "run.started", "run.moved", "run.moved", "run.moved", "checkpoint.registered", "gate.refused",
        "run.succeeded",
    ]  # fmt: skip
    assert [(event.data.from_state, event.data.state) for event in found[2:5]] == [
        ("snapshotting", "referencing"), ("referencing", "training"), ("training", "evaluating"),
    ]  # fmt: skip
    assert found[-1].data.checkpoint_id == found[-2].data.checkpoint_id == checkpoint_id
    assert found[-1].data.url == f"http://127.0.0.1:8000/v1/runs/{claimed.lease.run_id}?project={DESK}"
    assert found[-2].data.reasons == ["auroc: too low: collect more feedback"]


def test_a_run_that_is_paused_lost_resumed_and_cancelled_says_so():
    vote()
    run = desk.request()
    claimed = desk.claim(run.id)
    with transaction() as session:
        leases.lose(session, claimed.lease, "the trainer was killed")
    with transaction() as session:
        commands.pause(session, DESK, run.id, "key test")
        commands.resume(session, DESK, run.id, "key test")
        commands.cancel(session, DESK, run.id, "key test")

    assert types() == ["run.requested", "run.started", "run.lost", "run.paused", "run.resumed", "run.cancelled"]


def test_every_kind_of_transition_is_published_as_one_type_or_deliberately_not():
    silent = {"turn", "taken_over", "shrunk", "noted", "cancelling", "returned"}

    assert set(TransitionKind) - TYPES.keys() == {"claimed", "ended", "given_up", *silent}
    assert type_of(TransitionKind.CLAIMED, RunState.TRAINING, RunState.TRAINING) is None
    assert type_of(TransitionKind.GIVEN_UP, RunState.TRAINING, RunState.FAILED) == "run.failed"


def test_a_failure_that_no_rule_foresaw_is_told_without_the_error_that_may_quote_a_text():
    vote()
    claimed = desk.claim(desk.request().id)
    with transaction() as session:
        leases.fail(session, claimed.lease, f"{UNFORESEEN}: ValueError: 'Question 7?'")

    failed = events()[-1]
    assert (failed.type, failed.data.reason) == ("run.failed", UNFORESEEN)


def test_releases_are_told_by_their_action(tmp_path):
    vote()
    checkpoint_id = desk.checkpoint(tmp_path)
    events()
    with transaction() as session:
        releases.ship(session, DESK, wire.NewRelease(checkpoint_id=checkpoint_id, reason="better"), "key test")
    with transaction() as session:
        releases.ship(session, DESK, wire.NewRelease(rollback=True, reason="worse"), "key test")
    for new in (wire.NewRelease(checkpoint_id=checkpoint_id, share=0.2), wire.NewRelease(rollback=True)):
        with transaction() as session:
            releases.ship(session, DESK, new, "key test")
    with transaction() as session:
        releases.start_over(session, DESK, wire.NewBaseModel(base_model="/models/other"), "key test")

    found = events()
    assert [event.type.removeprefix("release.") for event in found] == [
        "shipped", "rolled_back", "canary", "canary_ended", "started_over",
    ]  # fmt: skip
    assert [event.data.share for event in found] == [None, None, 0.2, None, None]
    assert [event.data.reason for event in found[:2]] == ["better", "worse"]
    beside = [(event.data.live_checkpoint_id, event.data.canary_checkpoint_id) for event in found]
    base, other = beside[1][0], beside[4][0]
    assert beside == [(checkpoint_id, None), (base, None), (base, checkpoint_id), (base, None), (other, None)]


def test_an_erasure_is_told_without_its_actor():
    vote()
    with transaction() as session:
        erasure = erasures.request(session, DESK, "user 7", "key test")
    while execute("SELECT state FROM erasures") != [("done",)]:
        erasures.advance(erasure.id)

    requested, completed = events()
    assert (requested.type, completed.type) == ("erasure.requested", "erasure.completed")
    assert completed.data.erasure_id == erasure.id
    assert "user 7" not in requested.model_dump_json() + completed.model_dump_json()


def test_actors_that_the_rules_find_are_counted_once_and_a_decision_is_told_without_its_actor():
    store(DESK, [*thumbs("bot", 70, apart=0.5, value="both"), *thumbs("ann", 3, apart=50)])
    with transaction() as session:
        summaries.refresh(session, DESK)
    (found,) = events()
    assert (found.type, found.data.new_actors, found.data.rules) == ("quarantine.found", 1, ["burst"])

    with transaction() as session:
        new = wire.NewQuarantineDecision(actor="bot", decision="confirmed", reason="bot is a script")
        quarantine.decide(session, DESK, new, "key test")
    (decided,) = events()
    assert (decided.type, decided.data.number) == ("quarantine.confirmed", 1)
    assert "bot" not in found.model_dump_json() + decided.model_dump_json()
    with transaction() as session:
        assert summaries.refresh(session, DESK)
    assert events() == []


def test_actors_that_were_found_are_not_found_again_after_another_actor_is_erased():
    store(DESK, [*thumbs("bot", 70, apart=0.5, value="both"), *thumbs("ann", 3, apart=50)])
    with transaction() as session:
        summaries.refresh(session, DESK)
        erasure = erasures.request(session, DESK, "ann", "key test")
    assert [event.type for event in events()] == ["quarantine.found", "erasure.requested"]
    while execute("SELECT state FROM erasures") != [("done",)]:
        erasures.advance(erasure.id)
    assert execute("SELECT actor, findings FROM actor_findings") == [("bot", [])]

    with transaction() as session:
        assert summaries.refresh(session, DESK)

    assert [event.type for event in events()] == ["erasure.completed"]
    assert [found for [found] in execute("SELECT findings -> 0 ->> 'rule' FROM actor_findings")] == ["burst"]


def test_the_tick_rings_what_is_due(endpoint):
    vote()
    desk.request()
    execute("DELETE FROM outbox")

    loop.tick()

    assert execute("SELECT arguments ->> 'endpoint_id' FROM outbox WHERE task LIKE '%webhooks'") == [(str(endpoint),)]
