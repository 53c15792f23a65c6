"""The invariants of runs hold for all commands and all actions of workers, in any order."""

from collections.abc import Callable
from itertools import count, pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy.orm import Session
from thumbwheel import wire

from app.database import new_id, now, transaction
from app.errors import Conflict, StaleLease
from app.projects import service as projects
from app.releases import service as releases
from app.runs import commands, decision
from app.runs import service as runs
from app.runs.again import service as again
from app.runs.full_disk import service as full_disk
from app.runs.leases import service as leases
from app.runs.leases.lease import Lease
from app.runs.states import NEXT, TERMINAL, WORKING, RunState
from app.snapshots.tables import Snapshot
from tests.desk import execute, expire, make_project, reap, shown

#: Kinds of transitions after which no worker has the run.
ENDS_AN_ATTEMPT = {"returned", "held_up", "silent", "lost", "given_up", "ended"}
COMMANDS: list[Callable[..., wire.Run]] = [commands.cancel, commands.pause, commands.resume]
AGAIN: list[Callable[..., wire.Run]] = [again.retry, again.reproduce]
NUMBERS = count()


def finish(session: Session, lease: Lease) -> None:
    manifest = {"kind": "adapter", "scores": {}, "training": {}, "verdict": "passed", "reasons": []}
    leases.finish(session, lease, weights_sha256="a" * 64, files={}, manifest=manifest)


def advance(session: Session, lease: Lease) -> None:
    state = RunState(shown_state(lease.run_id))
    order = [RunState.SNAPSHOTTING, RunState.REFERENCING, RunState.TRAINING, RunState.EVALUATING]
    leases.advance(session, lease, order[min(order.index(state) + 1, 3)] if state in order else RunState.TRAINING)


MOVES: dict[str, Callable[[Session, Lease], Any]] = {
    "renew": leases.renew,
    "advance": advance,
    "finish": finish,
    "fail": lambda session, lease: leases.fail(session, lease, "because"),
    "release": leases.release,
    "lose": lambda session, lease: leases.lose(session, lease, "because"),
    "cancelled": leases.cancelled,
    "hold up": lambda session, lease: full_disk.hold_up(session, lease, "the disk that holds /work"),
}


def shown_state(run_id: UUID) -> str:
    return str(execute("SELECT state FROM runs WHERE id = :id", id=run_id)[0][0])


def done_or_refused(do: Callable[[Session], Any]) -> tuple[Any, Conflict | StaleLease | None]:
    try:
        with transaction() as session:
            return do(session), None
    except (Conflict, StaleLease) as refusal:
        return None, refusal


class Runs(RuleBasedStateMachine):
    """Random commands and worker actions. Each example has a separate project."""

    known = Bundle("known")
    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.project = f"project-{next(NUMBERS)}"
        self.epochs: dict[UUID, int] = {}
        self.newest: Lease | None = None
        make_project(self.project)
        with transaction() as session:
            snapshot = Snapshot(project_id=self.project, sha256="b" * 64, watermark=0, files={}, manifest={})
            session.add(snapshot)
            session.flush()
            configuration = projects.get(session, self.project)
            reference = releases.current(session, self.project).checkpoint_id
            recipe = decision.recipe_for(configuration, {})
            self.decided = decision.decided(session, configuration, recipe, 0, reference) | {"snapshot_id": snapshot.id}

    @initialize(target=known)
    def one_waits_behind_another(self) -> Any:
        return multiple(self.ask(queue=False), self.ask(queue=True))

    @rule(target=known, queue=st.booleans())
    def ask(self, queue: bool) -> Any:
        def enqueue(session: Session) -> wire.Run:
            projects.lock(session, self.project)
            return runs.enqueue(session, self.project, self.decided, "ann", "requested", note=None, queue=queue)

        run, refused = done_or_refused(enqueue)
        assert refused is None or refused.code == "run_active"
        return run.id if run else multiple()

    @rule(run_id=known, command=st.sampled_from(COMMANDS))
    def command(self, run_id: UUID, command: Callable[..., wire.Run]) -> None:
        before = shown_state(run_id)
        _, refused = done_or_refused(lambda session: command(session, self.project, run_id, "ann"))
        assert refused is None or (refused.code == "illegal_transition" and before in {*TERMINAL, "cancelling"})

    @rule(command=st.sampled_from(COMMANDS))
    def command_the_active_one(self, command: Callable[..., wire.Run]) -> None:
        for run_id in self._active():
            self.command(run_id, command)

    @rule(target=known, run_id=known, begin=st.sampled_from(AGAIN), queue=st.booleans())
    def begin_again(self, run_id: UUID, begin: Callable[..., wire.Run], queue: bool) -> Any:
        how = wire.RunAgain(queue=queue)
        run, refused = done_or_refused(lambda session: begin(session, self.project, run_id, how, "ann"))
        assert refused is None or refused.code in {"illegal_transition", "run_active"}
        return run.id if run else multiple()

    @rule(target=held, run_id=known)
    def claim(self, run_id: UUID) -> Any:
        before = shown(run_id, self.project)
        with transaction() as session:
            claimed = leases.claim(session, run_id, f"worker {new_id()}")
        if claimed is None:
            return multiple()
        assert (before.paused, before.waiting) == (False, False)
        assert before.next_attempt_at is None or before.next_attempt_at <= now()
        assert before.state in {"queued", *WORKING}
        self.newest = claimed.lease
        return claimed.lease

    @rule(target=held)
    def claim_the_active_one(self) -> Any:
        return next((self.claim(run_id) for run_id in self._active()), multiple())

    @rule(lease=held, move=st.sampled_from(sorted(MOVES)))
    def work(self, lease: Lease, move: str) -> None:
        owner, epoch = execute("SELECT lease_owner, lease_epoch FROM runs WHERE id = :id", id=lease.run_id)[0]
        before = shown(lease.run_id, self.project)
        _, refused = done_or_refused(lambda session: MOVES[move](session, lease))
        assert isinstance(refused, StaleLease) == ((owner, epoch) != (lease.owner, lease.epoch))
        assert refused is None or shown(lease.run_id, self.project) == before

    @precondition(lambda self: self.newest is not None)
    @rule(move=st.sampled_from(["release", "lose", "finish", "advance", "hold up"]))
    def work_on(self, move: str) -> None:
        assert self.newest is not None
        self.work(self.newest, move)

    @rule(lease=held)
    def fall_silent(self, lease: Lease) -> None:
        if execute("SELECT lease_expires_at FROM runs WHERE id = :id", id=lease.run_id)[0][0] is not None:
            expire(lease.run_id)

    @rule(run_id=known)
    def let_time_pass(self, run_id: UUID) -> None:
        execute("UPDATE runs SET next_attempt_at = now() WHERE next_attempt_at IS NOT NULL AND id = :id", id=run_id)

    @rule()
    def tick(self) -> None:
        reap()
        with transaction() as session:
            runs.let_waiting_go(session)

    def _active(self) -> list[UUID]:
        query = "SELECT id FROM runs WHERE project_id = :project AND NOT waiting AND finished_at IS NULL"
        return [row[0] for row in execute(query, project=self.project)]

    def _counts(self) -> tuple[int, int]:
        (row,) = execute(
            "SELECT count(*) FILTER (WHERE waiting), count(*) FILTER (WHERE NOT waiting AND finished_at IS NULL) "
            "FROM runs WHERE project_id = :project",
            project=self.project,
        )
        return row[0], row[1]

    @invariant()
    def one_is_active_and_the_history_of_each_is_whole(self) -> None:
        waiting, active = self._counts()
        assert active <= 1
        assert active or not waiting
        with transaction() as session:
            everything = runs.page(session, self.project, cursor=None, limit=100).items
        for run in everything:
            moves = [(move.from_state, move.to_state) for move in run.transitions]
            assert moves[0] == (None, "queued")
            assert all(before[1] == after[0] for before, after in pairwise(moves))
            assert moves[-1][1] == run.state
            assert all(a == b or b in NEXT[a] for a, b in moves[1:] if a is not None)
            assert run.attempts >= self.epochs.get(run.id, 0)
            self.epochs[run.id] = run.attempts
            assert not (run.state in TERMINAL and (run.paused or run.waiting or run.finished_at is None))
            assert not (run.state in TERMINAL and (run.held_up_since or run.held_up_by or run.next_attempt_at))
            self._history_gives_the_run_as_it_stands(run)

    def _history_gives_the_run_as_it_stands(self, run: wire.Run) -> None:
        """Checks that attempts do not overlap and that each kind of transition has only its documented effects."""
        claims, held, paused, waiting = 0, False, False, False
        for move in run.transitions:
            assert (move.kind in {"requested", "waits"}) == (move is run.transitions[0])
            if move.kind == "claimed":
                assert (held, paused, waiting) == (False, False, False)
                claims += 1
                assert move.attempt == claims
            assert move.attempt == (claims or None)
            held = move.kind == "claimed" or (held and move.kind not in ENDS_AN_ATTEMPT)
            paused = move.kind == "paused" or (
                paused and move.kind not in {"resumed", "cancelling", "given_up", "ended"}
            )
            waiting = move.kind == "waits" or (waiting and move.kind not in {"turn", "ended"})
        ((owner,),) = execute("SELECT lease_owner FROM runs WHERE id = :id", id=run.id)
        assert (held, paused, waiting) == (owner is not None, run.paused, run.waiting)
        assert claims == run.attempts


@pytest.mark.usefixtures("database")
@pytest.mark.trial
def test_runs_keep_their_rules_whatever_is_requested_and_whatever_their_workers_do():
    run_state_machine_as_test(
        Runs,
        settings=settings(
            max_examples=10,
            stateful_step_count=40,
            deadline=None,
            phases=[Phase.generate],  # shrinking a failing example would take minutes
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
