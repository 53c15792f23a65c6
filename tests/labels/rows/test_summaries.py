"""Requests for approvals and quarantine do not read the whole log, and approvals agree with the labels."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thumbwheel import wire
from thumbwheel.wire import LabelPolicy

from app.database import transaction
from app.errors import Unavailable
from app.feedback import service as feedback
from app.labels import service as labels
from app.labels.policies import service as policies
from app.labels.previews import service as previews
from app.labels.quarantine import listing
from app.labels.quarantine import service as quarantine
from app.labels.summaries import service as summaries
from app.loop import service as loop
from app.privacy.erasures import service as erasures
from tests.desk import DESK, execute, make_project
from tests.labels.one_by_one import resolved
from tests.labels.rows.test_labels_of_whole_logs import POLICIES, fresh_project, logs  # noqa: F401 - a fixture
from tests.logged import store

NOON = datetime.fromisoformat("2026-01-01T12:00:00+00:00")
ONE, TWO = UUID(int=1), UUID(int=2)
RULES = {"burst": {"votes": 3, "seconds": 3600 * 30}, "one_way": None, "ring": None}


@pytest.fixture(autouse=True)
def _project(database):
    make_project()


@pytest.fixture
def large(monkeypatch) -> None:
    """Treats every log as a large one that is read whenever it grows."""
    monkeypatch.setattr(labels, "SMALL", 0)
    monkeypatch.setattr(summaries, "PART", 1e9)


def thumbs(actor: str, count: int, value: str, *, apart: float = 50, **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "completion_id": f"{actor}/{number}",
            "actor": actor,
            "signal": {"kind": "thumbs", "value": value if value != "both" else ("up", "down")[number % 2]},
            "prompt": f"Question {number} of {actor}?",
            "completion": f"Answer {number}.",
            "checkpoint_id": str(ONE),
            "occurred_at": (NOON + timedelta(seconds=number * apart)).isoformat(),
            **more,
        }
        for number in range(count)
    ]


def approvals() -> dict[UUID, tuple[int, int]]:
    with transaction() as session:
        found = summaries.figures(session, DESK).approvals()
    return {row.checkpoint_id: (row.desirable, row.undesirable) for row in found}


def in_quarantine(state: wire.QuarantineState | None = None) -> list[str]:
    with transaction() as session:
        return [actor.actor for actor in listing.page(session, DESK, state=state).items]


def refresh() -> bool:
    with transaction() as session:
        return summaries.refresh(session, DESK)


def decide(actor: str, decision: str) -> None:
    with transaction() as session:
        new = wire.NewQuarantineDecision.model_validate(
            {"actor": actor, "decision": decision, "reason": "spoke with them"}
        )
        quarantine.decide(session, DESK, new, "key test")


def adopt(policy: LabelPolicy) -> None:
    with transaction() as session:
        stored, _ = policies.create(session, DESK, wire.NewLabelPolicy(policy=policy), "key test")
        policies.adopt(session, DESK, stored.version, "", "key test")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(events=logs(), policy=POLICIES, decision=st.sampled_from(["released", "confirmed", None]))
def test_approval_is_what_the_labels_say_with_quarantine_retractions_and_ties(
    fresh_project,  # noqa: F811 - the fixture
    events,
    policy,
    decision,
):
    project = fresh_project()
    guards = policy.guards.model_copy(update={"quarantine": wire.guard_rules.Quarantine.model_validate(RULES)})
    policy = policy.model_copy(update={"name": "other", "guards": guards})
    store(project, [event | {"checkpoint_id": str((ONE, TWO)[len(event["completion_id"]) % 2])} for event in events])
    with transaction() as session:
        stored, _ = policies.create(session, project, wire.NewLabelPolicy(policy=policy), "key test")
        policies.adopt(session, project, stored.version, "", "key test")
        actor = events[0]["actor"]
        if decision is not None:
            new = wire.NewQuarantineDecision(actor=actor, decision=decision, reason="spoke with them")
            quarantine.decide(session, project, new, "key test")
    with transaction() as session:
        watermark = feedback.watermark(session, project)
        figures = summaries.figures(session, project)
        findings = figures.findings(["ann", "bob", "cy"])
        left_out = {actor for actor in findings if actor != events[0]["actor"] or decision is None}
        if decision == "confirmed":
            left_out.add(events[0]["actor"])
        expected: Counter[tuple[UUID, bool]] = Counter()
        for one in resolved(session, project, policy, watermark=watermark, left_out=left_out):
            if one.checkpoint_id is not None and one.resolution.label is not None:
                expected[one.checkpoint_id, one.resolution.label] += 1

        found = figures.approvals()

    assert {(row.checkpoint_id, True): row.desirable for row in found if row.desirable} | {
        (row.checkpoint_id, False): row.undesirable for row in found if row.undesirable
    } == dict(expected)


def test_votes_of_a_bot_count_neither_for_labels_nor_for_approval():
    store(DESK, [*thumbs("bot", 70, "up", apart=0.5), *thumbs("ann", 10, "down")])

    assert approvals() == {ONE: (0, 10)}


def test_approvals_are_kept_of_the_checkpoints_with_the_most_labels_alone(monkeypatch):
    monkeypatch.setattr("app.labels.summaries.summary.MOST_CHECKPOINTS", 2)
    store(DESK, [event for n in range(4) for event in thumbs(f"u{n}", n + 1, "up", checkpoint_id=str(UUID(int=n)))])

    assert approvals() == {UUID(int=2): (3, 0), UUID(int=3): (4, 0)}


@pytest.mark.usefixtures("large")
def test_figures_of_a_large_log_are_those_that_the_loop_found_last():
    store(DESK, [*thumbs("bot", 70, "up", apart=0.5), *thumbs("ann", 10, "down")])
    with pytest.raises(Unavailable, match="being computed"):
        approvals()
    with pytest.raises(Unavailable, match="being computed"):
        in_quarantine()

    loop.tick()

    assert (approvals(), in_quarantine()) == ({ONE: (0, 10)}, ["bot"])
    with transaction() as session:
        finding, *_ = listing.get(session, DESK, "bot").findings
        assert "quarantined_burst" in previews.explain(session, DESK, "bot/1").signals[0].why
        assert previews.explain(session, DESK, "ann/1").label == "undesirable"
        assert summaries.stored_approvals(session, DESK)[ONE].undesirable == 10
    assert (finding.votes, finding.examples[:2]) == (70, ["bot/0", "bot/1"])

    store(DESK, thumbs("bob", 5, "up"))

    assert approvals() == {ONE: (0, 10)}
    loop.tick()
    assert approvals() == {ONE: (5, 10)}
    assert not refresh()


@pytest.mark.usefixtures("large")
def test_a_figure_of_another_policy_or_of_other_decisions_is_never_shown():
    store(DESK, [*thumbs("bot", 70, "up", apart=0.5), *thumbs("ann", 10, "down")])
    refresh()

    decide("bot", "released")

    assert in_quarantine("released") == ["bot"]
    assert in_quarantine("quarantined") == []
    with pytest.raises(Unavailable, match="decided"):
        approvals()
    with transaction() as session:
        assert summaries.stored_approvals(session, DESK) == {}
    refresh()
    assert approvals() == {ONE: (70, 10)}

    adopt(LabelPolicy.model_validate({"name": "deaf", "signals": {"thumbs": {"up": None, "down": None}}}))

    for figure in (approvals, in_quarantine):
        with pytest.raises(Unavailable, match="being computed"):
            figure()
    refresh()
    assert approvals() == {ONE: (0, 0)}


@pytest.mark.usefixtures("large")
def test_stored_findings_are_paged_as_fresh_ones_are(monkeypatch):
    store(DESK, [event for n in range(5) for event in thumbs(f"bot {n}", 70, "both", apart=0.5)])
    decide("bot 3", "released")
    decide("bot 4", "confirmed")
    refresh()

    def pages(state: wire.QuarantineState | None) -> list[list[wire.QuarantinedActor]]:
        found, cursor = [], None
        with transaction() as session:
            while True:
                page = listing.page(session, DESK, state=state, cursor=cursor, limit=2)
                found.append(page.items)
                cursor = page.next_cursor
                if cursor is None:
                    return found

    states: list[wire.QuarantineState | None] = [None, "quarantined", "released", "confirmed"]
    stored = {state: pages(state) for state in states}
    execute("DELETE FROM log_summaries")
    monkeypatch.setattr(labels, "SMALL", 10_000)

    assert stored == {state: pages(state) for state in states}
    assert [[actor.actor for actor in page] for page in stored[None]] == [
        ["bot 0", "bot 1"], ["bot 2", "bot 3"], ["bot 4"]
    ]  # fmt: skip


@pytest.mark.usefixtures("large")
def test_an_erasure_leaves_no_name_in_stored_findings():
    store(DESK, [*thumbs("eve", 70, "up", apart=0.5), *thumbs("ann", 10, "down")])
    refresh()
    with transaction() as session:
        erasure = erasures.request(session, DESK, "eve", "key officer")

    for _ in range(20):
        erasures.advance(erasure.id)

    assert execute("SELECT actor FROM actor_findings") == []
    refresh()
    assert (approvals(), in_quarantine()) == ({ONE: (0, 10)}, [])


@pytest.mark.usefixtures("large")
def test_what_was_read_before_an_erasure_is_not_stored_after_it(monkeypatch):
    store(DESK, [*thumbs("eve", 70, "up", apart=0.5), *thumbs("ann", 10, "down")])
    read = summaries._read

    def erased_meanwhile(*arguments: Any, **options: Any) -> Any:
        found = read(*arguments, **options)
        with transaction() as session:
            erasure = erasures.request(session, DESK, "eve", "key officer")
        for _ in range(20):
            erasures.advance(erasure.id)
        return found

    monkeypatch.setattr(summaries, "_read", erased_meanwhile)

    assert not refresh()
    assert execute("SELECT actor FROM actor_findings") == []
