"""The verdict of the chaos suite counts each kind of violation, shown on invented runs."""

from dataclasses import replace
from uuid import UUID, uuid4

from tests.chaos.runs.plan import STRIKES, blows, wishes
from tests.chaos.runs.verdict import Checkpoint, Row, Transition, Verdict, judge

CALM, RUN, SNAPSHOT = uuid4(), uuid4(), uuid4()
FIRST, SECOND = "host:10:00000000", "host:11:11111111"


def checkpoint(run_id: UUID, weights: str = "a" * 64) -> Checkpoint:
    return Checkpoint(id=uuid4(), run_id=run_id, weights_sha256=weights, files={})


def claimed(worker: str) -> Transition:
    return Transition("claimed", worker, "training", "")


def row(run_id: UUID, registered: Checkpoint | None, **changes: object) -> Row:
    history = [claimed(FIRST), Transition("silent", "reaper", "training", ""), claimed(SECOND)]
    checkpoint_id = registered.id if registered else None
    plain = Row(run_id, "desk", "succeeded", None, SNAPSHOT, checkpoint_id, None, 2, 1, steps=[1, 2], history=history)
    return replace(plain, **changes)


def judged(weights: str = "a" * 64, **changes: object) -> Verdict:
    """Returns the verdict on an undisturbed run and on a disturbed one with `changes`."""
    calm, disturbed = checkpoint(CALM), checkpoint(RUN, weights)
    rows = {CALM: row(CALM, calm), RUN: row(RUN, disturbed, **changes)}
    registered = [calm, disturbed] if rows[RUN].checkpoint_id else [calm]
    return judge([RUN], {"desk": CALM}, rows, registered)


def wrong(verdict: Verdict) -> set[str]:
    return {name for name, count in verdict.counts.items() if count}


def test_a_run_that_two_workers_had_one_after_the_other_is_all_right():
    assert wrong(judged()) == set()


def test_a_worker_that_writes_after_another_one_did_ran_at_the_same_time():
    history = [claimed(FIRST), claimed(SECOND), Transition("moved", FIRST, "evaluating", "")]

    assert wrong(judged(history=history)) == {"ran_twice"}


def test_other_weights_another_snapshot_and_missing_steps_are_seen():
    assert wrong(judged("b" * 64)) == {"hash_mismatches"}
    assert wrong(judged(snapshot_id=uuid4())) == {"hash_mismatches"}
    assert wrong(judged(steps=[1, 3])) == {"steps_missing"}


def test_a_run_that_goes_on_or_is_still_held_is_stuck():
    assert wrong(judged(state="training", checkpoint_id=None)) == {"stuck"}
    assert wrong(judged(owner=SECOND)) == {"stuck"}


def test_success_without_a_checkpoint_and_two_checkpoints_of_a_run_are_seen():
    first, second, calm = checkpoint(RUN), checkpoint(RUN), checkpoint(CALM)
    rows = {CALM: row(CALM, calm), RUN: row(RUN, first)}

    assert wrong(judged(checkpoint_id=None)) == {"half_registered"}
    assert wrong(judge([RUN], {"desk": CALM}, rows, [calm, first, second])) == {"registered_twice"}


def test_a_run_may_fail_when_it_was_lost_too_often_and_never_on_a_full_disk():
    def failed(*kinds: str) -> set[str]:
        history = [Transition(kind, FIRST, "failed", "because") for kind in kinds]
        return wrong(judged(state="failed", checkpoint_id=None, history=history))

    assert failed("claimed", "given_up") == set()
    assert failed("claimed", "held_up", "ended") == {"unexplained"}
    assert failed() == {"unexplained"}


def test_accepted_runs_that_are_not_there_are_lost_and_others_were_requested_by_nobody():
    calm = checkpoint(CALM)

    assert wrong(judge([RUN], {"desk": CALM}, {CALM: row(CALM, calm)}, [calm])) == {"lost"}
    assert wrong(judge([], {}, {CALM: row(CALM, calm)}, [calm])) == {"unasked"}


def test_a_seed_decides_what_strikes_and_every_fault_strikes_several_times_in_fifty_runs():
    planned = blows(7, 50)

    assert planned == blows(7, 50) != blows(8, 50)
    assert wishes(7, 50) == wishes(7, 50)
    assert all(sum(blow.fault == fault for blow in planned) >= 3 for fault in STRIKES)
    assert {wish.what for wish in wishes(7, 50)} == {"nothing", "cancel", "pause"}
