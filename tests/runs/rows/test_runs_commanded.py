"""Runs that are paused, wait for their turn, or reproduce an older one."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from thumbwheel import wire

from app.database import new_id, now, transaction
from app.errors import Conflict, NotFound, Refused
from app.labels.policies import service as policies
from app.loop import service as loop
from app.projects import service as projects
from app.runs import commands
from app.runs import service as runs
from app.runs.again import service as again
from app.runs.leases import service as leases
from app.runs.leases.service import Claimed
from app.runs.states import RunState
from app.snapshots.tables import SnapshotRedaction
from tests.desk import (
    DESK,
    advance,
    at_once,
    claim,
    execute,
    expire,
    finish,
    messages,
    ready_to_finish,
    reap,
    request,
    shown,
    snapshot,
    vote,
)

pytestmark = pytest.mark.usefixtures("project")


def command(do: Callable[..., wire.Run], run_id: UUID, *how: Any) -> wire.Run:
    with transaction() as session:
        return do(session, DESK, run_id, *how, "ann")


def pause(run_id: UUID) -> wire.Run:
    return command(commands.pause, run_id)


def resume(run_id: UUID) -> wire.Run:
    return command(commands.resume, run_id)


def cancel(run_id: UUID) -> wire.Run:
    return command(commands.cancel, run_id)


def retry(run_id: UUID, **how: Any) -> wire.Run:
    return command(again.retry, run_id, wire.RunAgain(**how))


def reproduce(run_id: UUID, **how: Any) -> wire.Run:
    return command(again.reproduce, run_id, wire.RunAgain(**how))


def release(claimed: Claimed) -> None:
    with transaction() as session:
        leases.release(session, claimed.lease)


def fail(claimed: Claimed) -> None:
    with transaction() as session:
        leases.fail(session, claimed.lease, "because")


def try_to_claim(run_id: UUID) -> Claimed | None:
    with transaction() as session:
        return leases.claim(session, run_id, "worker 2")


def history(run_id: UUID) -> list[str]:
    return [transition.kind for transition in shown(run_id).transitions]


# -- paused -----------------------------------------------------------------------------------------------------------


def test_a_paused_run_is_taken_by_nobody_until_it_is_resumed_and_stays_the_active_one():
    run = request()

    assert (pause(run.id).paused, pause(run.id).paused) == (True, True)
    assert try_to_claim(run.id) is None
    execute("UPDATE runs SET rung_at = now() - interval '2 minutes'")
    assert reap() == 0
    with pytest.raises(Conflict, match=f"Run {run.id} is active"):
        request()

    assert (resume(run.id).paused, resume(run.id).paused) == (False, False)
    assert messages() == [str(run.id)] * 2
    assert try_to_claim(run.id) is not None
    assert history(run.id) == ["requested", "paused", "resumed", "claimed"]


def test_a_worker_sees_the_pause_gives_the_run_back_without_ringing_and_resuming_rings():
    claimed = claim(request().id)
    pause(claimed.lease.run_id)

    with transaction() as session:
        assert leases.renew(session, claimed.lease).paused
    release(claimed)

    assert len(messages()) == 1
    assert history(claimed.lease.run_id)[-2:] == ["paused", "returned"]
    resume(claimed.lease.run_id)
    assert len(messages()) == 2


def test_a_run_that_is_resumed_before_its_worker_gave_it_back_is_rung_by_the_worker():
    claimed = claim(request().id)
    pause(claimed.lease.run_id)
    resume(claimed.lease.run_id)
    assert len(messages()) == 1

    release(claimed)

    assert len(messages()) == 2
    assert try_to_claim(claimed.lease.run_id) is not None


def test_a_run_that_is_paused_as_it_ends_has_ended(tmp_path):
    claimed = ready_to_finish(tmp_path)
    pause(claimed.lease.run_id)

    finish(claimed, tmp_path)

    ended = shown(claimed.lease.run_id)
    assert (ended.state, ended.paused) == ("succeeded", False)


def test_a_paused_run_whose_worker_died_goes_back_and_no_attempt_is_counted_as_lost():
    claimed = claim(request().id)
    pause(claimed.lease.run_id)
    expire(claimed.lease.run_id)

    assert (reap(), reap()) == (1, 0)

    assert len(messages()) == 1
    assert execute("SELECT lost, lease_owner FROM runs") == [(0, None)]
    assert history(claimed.lease.run_id)[-1] == "silent"


def test_a_paused_run_is_cancelled_at_once_where_no_worker_has_it_and_by_its_worker_where_one_has():
    first = claim(request().id)
    pause(first.lease.run_id)
    release(first)
    assert cancel(first.lease.run_id).state == "cancelled"

    second = claim(request().id)
    pause(second.lease.run_id)
    assert (cancel(second.lease.run_id).state, shown(second.lease.run_id).paused) == ("cancelling", False)


@pytest.mark.parametrize(("do", "done"), [(pause, "paused"), (resume, "resumed")])
def test_to_pause_or_resume_what_has_ended_is_a_conflict_that_says_what_is_allowed(do, done):
    claimed = claim(request().id)
    cancel(claimed.lease.run_id)
    with pytest.raises(Conflict, match=f"The run is cancelling and cannot be {done}. Allowed: cancel."):
        do(claimed.lease.run_id)
    fail(claimed)

    with pytest.raises(Conflict) as refused:
        do(claimed.lease.run_id)

    assert refused.value.code == "illegal_transition"
    assert refused.value.details == {"state": "cancelled", "allowed": ["cancel", "reproduce", "retry"]}


# -- waiting ----------------------------------------------------------------------------------------------------------


def test_a_run_that_waits_goes_on_when_the_active_one_ends_and_is_decided_then(tmp_path):
    active = ready_to_finish(tmp_path)
    waiting = request(queue=True, changes={"beta": 0.2})
    third = request(queue=True)
    assert (waiting.waiting, waiting.state, try_to_claim(waiting.id)) == (True, "queued", None)
    assert history(waiting.id) == ["waits"]
    assert shown(waiting.id).transitions[0].reason == (
        f"requested by a test; it waits behind run {active.lease.run_id}"
    )
    vote(10, start=100)
    with transaction() as session:
        projects.change(session, DESK, wire.ProjectChange(recipe=wire.RecipeChoice(changes={"epochs": 2})))
    before = len(messages())

    finish(active, tmp_path)

    assert (shown(waiting.id).waiting, shown(third.id).waiting) == (False, True)
    assert messages()[before:] == [str(waiting.id)]
    assert history(waiting.id) == ["waits", "turn"]
    claimed = claim(waiting.id)
    assert (claimed.watermark, claimed.recipe.beta, claimed.recipe.epochs) == (50, 0.2, 2)


def test_a_run_that_waits_is_cancelled_at_once_and_lets_nobody_go_on():
    active, waiting, third = request(), request(queue=True), request(queue=True)

    assert cancel(waiting.id).state == "cancelled"

    assert (shown(active.id).state, shown(third.id).waiting) == ("queued", True)


def test_a_run_whose_turn_comes_where_it_cannot_start_any_more_fails_and_the_next_one_goes_on():
    active = request()
    wrong, good = request(queue=True, changes={"beta": 0.2}), request(queue=True)
    execute("""UPDATE runs SET changes = '{"beta": -1}' WHERE id = :id""", id=wrong.id)

    cancel(active.id)

    assert shown(wrong.id).state == "failed"
    assert "its turn came, but it cannot start any more: The recipe is wrong" in (shown(wrong.id).reason or "")
    assert not shown(good.id).waiting


def test_a_turn_that_was_missed_since_somebody_held_the_project_comes_with_the_next_tick():
    active, waiting = request(), request(queue=True)
    with transaction() as session:
        projects.lock(session, DESK)
        cancel(active.id)  # in a second transaction, which does not wait
        assert shown(waiting.id).waiting

    loop.tick()

    assert not shown(waiting.id).waiting


def test_runs_that_are_requested_while_the_active_one_ends_neither_double_nor_get_stuck():
    active = request()

    at_once(4, lambda number: cancel(active.id) if number == 0 else request(queue=True))
    loop.tick()

    assert execute("SELECT count(*) FILTER (WHERE NOT waiting), count(*) FROM runs WHERE state = 'queued'") == [(1, 3)]


# -- reproduced -------------------------------------------------------------------------------------------------------


def test_a_retry_is_a_new_run_by_what_decided_the_first_one(tmp_path):
    first = claim(request(changes={"beta": 0.2}).id)
    snapshot(first, tmp_path)
    fail(first)
    vote(10, start=100)

    second = retry(first.lease.run_id, note="the disk is mended")

    assert (second.state, second.source, second.source_run_id) == ("queued", "retry", first.lease.run_id)
    assert second.trigger == f"retry of run {first.lease.run_id}, requested by ann: the disk is mended"
    claimed = claim(second.id)
    old = shown(first.lease.run_id)
    assert (claimed.snapshot_id, claimed.recipe.model_dump(mode="json")) == (old.snapshot_id, old.recipe.given())
    assert (claimed.watermark, claimed.configuration, claimed.retries) == (40, first.configuration, first.lease.run_id)
    assert old.state == "failed"


def test_a_run_that_begins_another_again_keeps_what_decided_it_when_its_turn_comes(tmp_path):
    first = claim(request().id)
    snapshot(first, tmp_path)
    fail(first)
    active = request()
    with pytest.raises(Conflict, match=f"Run {active.id} is active"):
        retry(first.lease.run_id)
    waiting = retry(first.lease.run_id, queue=True)
    vote(10, start=100)

    cancel(active.id)

    assert claim(waiting.id).watermark == 40


def test_what_succeeded_cannot_be_retried_and_what_goes_on_neither_retried_nor_reproduced(tmp_path):
    claimed = ready_to_finish(tmp_path)
    for do in (retry, reproduce):
        with pytest.raises(Conflict, match="The run is evaluating and cannot be re"):
            do(claimed.lease.run_id)
    finish(claimed, tmp_path)

    with pytest.raises(Conflict, match=r"The run is succeeded and cannot be retried\. Allowed: reproduce\."):
        retry(claimed.lease.run_id)
    with pytest.raises(NotFound):
        reproduce(new_id())


@pytest.mark.parametrize("same", [True, False])
def test_a_reproduction_says_whether_its_weights_are_those_of_its_source(same, tmp_path):
    first = ready_to_finish(tmp_path)
    made = finish(first, tmp_path)
    second = claim(reproduce(first.lease.run_id).id)
    assert (second.snapshot_id, second.retries) == (shown(first.lease.run_id).snapshot_id, None)
    advance(second.lease, RunState.REFERENCING, RunState.TRAINING, RunState.EVALUATING)
    assert shown(second.lease.run_id).reproduces is None

    sha256 = execute("SELECT weights_sha256 FROM checkpoints WHERE id = :id", id=made)[0][0] if same else "0" * 64
    manifest = {"kind": "adapter", "scores": {}, "training": {}, "verdict": "passed", "reasons": []}
    with transaction() as session:
        leases.finish(session, second.lease, weights_sha256=sha256, files={}, manifest=manifest)

    run = shown(second.lease.run_id)
    assert (run.source, run.reproduces) == ("reproduction", same)
    comparison = "the same as" if same else "others than"
    assert run.transitions[-1].reason.endswith(f"; its weights are {comparison} those of run {first.lease.run_id}")


def test_a_run_without_a_snapshot_cannot_be_reproduced_and_one_with_a_redacted_one_not_begun_again(tmp_path):
    bare = request()
    cancel(bare.id)
    with pytest.raises(Conflict, match="nothing to reproduce: retry it"):
        reproduce(bare.id)
    claimed = claim(retry(bare.id).id)
    snapshot(claimed, tmp_path)
    fail(claimed)
    run = shown(claimed.lease.run_id)
    redaction = {"snapshot_id": run.snapshot_id, "erasure_id": new_id(), "rows": 1, "shards": [], "redacted_at": now()}
    with transaction() as session:
        session.add(SnapshotRedaction(**redaction))

    for do, done in ((retry, "retried"), (reproduce, "reproduced")):
        with pytest.raises(Conflict, match=f"cannot be {done}: rows of its snapshot .* Start a new run"):
            do(run.id)


def test_a_run_begun_again_does_not_make_old_labels_new(tmp_path):
    first = claim(request().id)
    snapshot(first, tmp_path)
    fail(first)
    vote(10, start=100)
    cancel(request().id)

    second = retry(first.lease.run_id)

    with transaction() as session:
        found = runs.last(session, DESK)
    assert found is not None
    assert (found.id, found.watermark) == (second.id, 50)


# -- history ----------------------------------------------------------------------------------------------------------


def test_the_history_tells_who_had_the_run_when_and_how_each_attempt_ended():
    run = request()
    release(claim(run.id))
    claim(run.id, "worker 2")
    expire(run.id)
    reap()
    claim(run.id, "worker 3")
    expire(run.id)
    claimed = claim(run.id, "worker 4")  # before the reaper notices
    with transaction() as session:
        leases.lose(session, claimed.lease, "the trainer was ended by SIGKILL")

    assert [(line.kind, line.attempt, line.by, line.reason) for line in shown(run.id).transitions] == [
        ("requested", None, "key test", "requested by a test"),
        ("claimed", 1, "worker 1", "claimed, attempt 1"),
        ("returned", 1, "worker 1", "given back"),
        ("claimed", 2, "worker 2", "claimed, attempt 2"),
        ("silent", 2, "reaper", "worker worker 2 fell silent; it is tried again"),
        ("claimed", 3, "worker 3", "claimed, attempt 3"),
        ("silent", 3, "worker 4", "worker worker 3 fell silent; it is tried again"),
        ("claimed", 4, "worker 4", "claimed, attempt 4"),
        ("lost", 4, "worker 4", "the trainer was ended by SIGKILL; it is tried again"),
    ]


def test_a_worker_that_finds_too_many_lost_attempts_gives_the_run_up_and_names_the_last_one():
    run = request()
    for number in range(1, 6):
        claim(run.id, f"worker {number}")
        expire(run.id)

    assert try_to_claim(run.id) is None

    ended = shown(run.id)
    last = ended.transitions[-1]
    assert (ended.attempts, last.kind, last.attempt, last.to_state) == (5, "given_up", 5, "failed")
    assert history(run.id) == ["requested", "claimed", *["silent", "claimed"] * 4, "given_up"]


def test_a_smaller_recipe_and_what_a_process_said_are_kept_by_the_holder_alone(tmp_path):
    claimed = ready_to_finish(tmp_path)
    recipe = claimed.recipe.model_copy(update={"micro_batch_size": 2})

    with transaction() as session:
        leases.shrink(session, claimed.lease, recipe, "memory ran out: 2 rows at once")
        leases.keep_said(session, claimed.lease, "Traceback\nMemoryError")

    run = shown(claimed.lease.run_id)
    assert (run.recipe.micro_batch_size, run.warnings) == (2, ["memory ran out: 2 rows at once"])
    last = run.transitions[-1]
    assert (run.said, last.kind, last.reason) == ("Traceback\nMemoryError", "shrunk", "memory ran out: 2 rows at once")


def test_a_run_that_has_no_snapshot_yet_does_not_start_without_the_audit_that_is_required_by_now():
    bare = request()
    waiting = request(queue=True)
    policy = wire.LabelPolicy.model_validate({"audit": {"minimum_precision": 0.6}})
    with transaction() as session:
        stored, _ = policies.create(session, DESK, wire.NewLabelPolicy(policy=policy), "ann")
        policies.adopt(session, DESK, stored.version, "", "ann")

    cancel(bare.id)

    assert "there is none: draw one" in (shown(waiting.id).reason or "")
    with pytest.raises(Refused, match="there is none: draw one"):
        retry(bare.id)
