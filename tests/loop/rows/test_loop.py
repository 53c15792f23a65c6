"""The tick: automatic runs, readable decisions, and no work that is done twice."""

from datetime import datetime

import pytest
from sqlalchemy import event, text
from thumbwheel import wire

from app.database import engine, transaction
from app.loop import service as loop
from app.project_setup import service as project_setup
from app.projects import service as projects
from app.runs import service as runs
from app.runs.leases import service as leases
from tests.desk import DESK, claim, execute, expire, make_project, messages, request, shown, vote

pytestmark = pytest.mark.usefixtures("database")


def decisions(project: str = DESK) -> list[wire.TriggerDecision]:
    with transaction() as session:
        return loop.decisions(session, project, cursor=None, limit=50).items


def all_runs(project: str = DESK) -> list[wire.Run]:
    with transaction() as session:
        return runs.page(session, project, cursor=None, limit=50).items


def fail(run: wire.Run) -> None:
    claimed = claim(run.id)
    with transaction() as session:
        leases.fail(session, claimed.lease, "the model folder is empty")


def test_a_run_starts_once_enough_labels_are_there_and_says_why():
    make_project(trigger={"new_per_class": 20})
    vote(30)
    loop.tick()
    assert [decision.reason for decision in decisions()] == [
        "not yet: 15 of 20 new desirable labels, 15 of 20 new undesirable labels"
    ]

    vote(10, start=30)
    loop.tick()

    (run,) = all_runs()
    started = decisions()[0]
    assert (started.started, started.run_id) == (True, run.id)
    assert run.trigger == f"trigger: {started.reason}"
    assert run.trigger.startswith("trigger: 20 new desirable and 20 new undesirable labels")


def test_a_project_of_desirable_labels_alone_learns_by_sft():
    make_project(
        trigger={"new_per_class": 20},
        recipe={"changes": {"objective": "sft"}},
        gates={"name": "one", "findings": {"errors": True}},  # held-out rows of one class decide no AUROC
    )
    vote(20, values=["up"])

    loop.tick()

    (run,) = all_runs()
    assert run.recipe.objective == "sft"
    assert run.trigger == "trigger: 20 new desirable labels (required: 20)"


def test_a_run_that_the_gates_would_leave_undecided_starts_by_hand_alone():
    make_project(trigger={"new_per_class": 20}, gates="standard")
    vote(40)

    loop.tick()

    assert all_runs() == []
    reason = decisions()[0].reason
    assert reason.startswith(
        "due (20 new desirable and 20 new undesirable labels (required: 20 of each)), but it waits: "
    )
    assert "gates standard need 100 (minimum.rows), so the verdict would be undecided" in reason
    assert request().state == "queued"


def test_adopting_other_gates_is_a_new_decision():
    make_project(trigger={"new_per_class": 20}, gates="standard")
    vote(40)
    loop.tick()
    with transaction() as session:
        project_setup.change(session, DESK, wire.ProjectChange(gates="toy"), "key test")

    loop.tick()

    assert len(all_runs()) == 1


def test_a_trigger_for_pairs_that_are_not_there_says_what_is_missing():
    make_project(trigger={"new_per_class": 20}, recipe={"changes": {"objective": "dpo"}})
    vote(40)

    loop.tick()

    assert all_runs() == []
    assert "but refused: no two completions of one prompt were compared" in decisions()[0].reason


def test_the_same_decision_again_only_moves_when_it_was_last_seen():
    make_project(trigger={"new_per_class": 20})
    vote(30)
    loop.tick()
    (first,) = decisions()

    loop.tick()

    (again,) = decisions()
    assert again.decided_at == first.decided_at
    assert again.last_seen_at > first.last_seen_at


def last_arrow() -> datetime | None:
    """Returns the time at which a whole log was last read."""
    with transaction() as session:
        query = "SELECT max(query_start) FROM pg_stat_activity WHERE application_name = 'thumbwheel arrow'"
        return session.scalar(text(query))


def test_labels_are_not_resolved_again_while_nothing_has_changed():
    make_project(trigger={"new_per_class": 20})
    make_project("untriggered")
    vote(30)
    loop.tick()
    before = last_arrow()
    statements: list[str] = []

    def note(*arguments: object) -> None:
        statements.append(str(arguments[2]))

    event.listen(engine(), "before_cursor_execute", note)
    try:
        loop.tick()
    finally:
        event.remove(engine(), "before_cursor_execute", note)

    about_events = {statement.strip() for statement in statements if "FROM events" in statement}
    assert all("max(position)" in one or one.startswith("SELECT count(*) FROM (SELECT FROM") for one in about_events)
    assert last_arrow() == before


def test_a_run_that_failed_is_not_started_again_on_the_same_labels():
    make_project(trigger={"new_per_class": 20})
    vote(40)
    loop.tick()
    fail(all_runs()[0])

    for _ in range(3):
        loop.tick()

    assert len(all_runs()) == 1
    assert decisions()[0].reason == (
        "not yet: 0 of 20 new desirable labels, 0 of 20 new undesirable labels "
        "(the last run failed: start one by hand to use the same labels again)"
    )

    vote(40, start=40)
    loop.tick()
    assert len(all_runs()) == 2


def test_what_would_be_refused_is_not_tried_again_until_something_changes():
    make_project(trigger={"new_per_class": 20}, snapshot={"minimum_per_class": 200, "holdout_share": 0.3})
    vote(40)
    for _ in range(3):
        loop.tick()

    (decision,) = decisions()
    assert decision.reason.startswith("due (20 new desirable")
    assert "but refused: " in decision.reason
    assert all_runs() == []

    with transaction() as session:
        rules = wire.SnapshotRules(minimum_per_class=5, holdout_share=0.3)
        projects.change(session, DESK, wire.ProjectChange(snapshot=rules))
    loop.tick()
    assert len(all_runs()) == 1


def test_a_period_starts_a_run_when_it_is_over_and_there_is_anything_new():
    make_project(trigger={"every_hours": 24})
    vote(40)
    loop.tick()
    fail(all_runs()[0])
    vote(2, start=40)
    loop.tick()
    assert decisions()[0].reason.startswith("not yet: the period of 24 hours since the last run is not over")

    execute("UPDATE runs SET created_at = created_at - interval '25 hours'")
    loop.tick()

    assert len(all_runs()) == 2
    assert decisions()[0].reason == "the last run began over 24 hours ago, and there are new labels"


def test_while_a_run_is_active_nothing_is_started_beside_it():
    make_project(trigger={"new_per_class": 20})
    vote(40)
    request()
    vote(40, start=40)

    loop.tick()

    assert [decision.reason for decision in decisions()] == ["not yet: a run is active"]


def test_a_project_that_cannot_be_decided_on_does_not_stop_the_others():
    make_project("a-broken-one", trigger={"new_per_class": 20})
    execute("UPDATE projects SET configuration = '{\"trigger\": 7}'")
    make_project(trigger={"new_per_class": 20})
    vote(40)

    loop.tick()

    assert len(all_runs()) == 1


def test_a_tick_returns_lost_runs_and_leaves_the_message_to_a_relay():
    make_project()
    vote(40)
    claimed = claim(request().id)
    expire(claimed.lease.run_id)

    loop.tick()

    assert shown(claimed.lease.run_id).transitions[-1].kind == "silent"
    assert messages() == [str(claimed.lease.run_id)] * 2
