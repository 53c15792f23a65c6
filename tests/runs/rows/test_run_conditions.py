"""A run's state, pause, turn and lease: Postgres stores only legal combinations, and claim and reaper treat each as
`states.MEANINGS` documents.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import CheckConstraint, delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from thumbwheel import wire

from app.database import new_id, transaction
from app.runs import service as runs
from app.runs.leases import service as leases
from app.runs.states import ACTIVE, MEANINGS, TERMINAL, Condition, Hold, Reaping, RunState
from app.runs.tables import Run, RunTransition
from tests.desk import DESK, make_project, request, vote

TABLE = Run.__table__
EVERY = [Condition(*values) for values in product(RunState, (False, True), (False, True), Hold)]
EXPIRES = {Hold.FREE: None, Hold.HELD: text("now() + interval '1 hour'"), Hold.SILENT: text("now() - interval '1 s'")}


@pytest.fixture
def run(database: str) -> wire.Run:
    make_project()
    vote()
    return request()


def columns(condition: Condition) -> dict[str, Any]:
    return {
        "state": condition.state,
        "paused": condition.paused,
        "waiting": condition.waiting,
        "lease_owner": None if condition.hold is Hold.FREE else "worker 1",
        "lease_expires_at": EXPIRES[condition.hold],
        "lease_epoch": 0 if condition.state is RunState.QUEUED else 1,
        "rung_at": text("now() - interval '1 day'"),
    }


@contextmanager
def undone() -> Iterator[Session]:
    with transaction() as session:
        yield session
        session.rollback()


def condition_of(session: Session, run_id: UUID) -> Condition:
    now = session.execute(
        select(Run.state, Run.paused, Run.waiting, Run.lease_expires_at < text("clock_timestamp()")).where(
            Run.id == run_id
        )
    ).one()
    hold = {None: Hold.FREE, False: Hold.HELD, True: Hold.SILENT}[now[3]]
    return Condition(RunState(now[0]), now[1], now[2], hold)


def is_stored(session: Session, values: dict[str, Any]) -> bool:
    try:
        with session.begin_nested():
            session.execute(insert(TABLE).values(**values))
            session.execute(delete(TABLE).where(TABLE.c.id == values["id"]))
    except IntegrityError:
        return False
    return True


def another_run(session: Session, run_id: UUID) -> dict[str, Any]:
    """The columns of a run like `run_id`."""
    row = session.get_one(Run, run_id)
    return {column.key: getattr(row, column.key) for column in TABLE.columns} | {"id": new_id()}


# -- what Postgres stores ----------------------------------------------------------------------------------------------


def test_postgres_stores_every_legal_condition_and_refuses_every_other(run):
    with undone() as session:
        like = another_run(session, run.id)
        session.execute(update(TABLE).values(state=RunState.CANCELLED))
        stored = {condition for condition in EVERY if is_stored(session, like | columns(condition))}

    assert stored == set(MEANINGS)


def test_postgres_refuses_half_a_lease_and_an_unknown_state(run):
    training = Condition(RunState.TRAINING, paused=False, waiting=False, hold=Hold.HELD)
    with undone() as session:
        like = another_run(session, run.id) | columns(training)
        session.execute(update(TABLE).values(state=RunState.CANCELLED))
        assert is_stored(session, like)
        assert not is_stored(session, like | {"lease_owner": None})
        assert not is_stored(session, like | {"lease_expires_at": None})
        assert not is_stored(session, like | {"state": "resting"})


def test_postgres_allows_one_run_of_a_project_in_an_active_state(run):
    with undone() as session:
        like = another_run(session, run.id)
        legal = [condition for condition in MEANINGS if not condition.waiting]
        second = {condition.state for condition in legal if is_stored(session, like | columns(condition))}

    assert second == TERMINAL == set(RunState) - ACTIVE


def test_postgres_stores_every_kind_of_transition_with_what_it_must_have_and_no_other_kind(run):
    def is_written(**values: Any) -> bool:
        row = {"run_id": run.id, "from_state": "training", "to_state": "training", "by": "ann", "reason": ""}
        try:
            with session.begin_nested():
                session.execute(insert(RunTransition).values(**row | {"attempt": 1} | values))
        except IntegrityError:
            return False
        return True

    with undone() as session:
        begins = {kind for kind in wire.RunTransitionKind if is_written(kind=kind, from_state=None)}
        ends = {kind for kind in wire.RunTransitionKind if is_written(kind=kind, to_state="failed")}
        others = {kind for kind in wire.RunTransitionKind if is_written(kind=kind)}

        assert (begins, ends) == ({"requested", "waits"}, {"given_up", "ended"})
        assert others == set(wire.RunTransitionKind) - begins - ends
        assert not is_written(kind="vanished")
        assert not is_written(kind="claimed", attempt=None)
        assert not is_written(kind="noted", attempt=0)


@pytest.mark.parametrize("table", [Run, RunTransition])
def test_the_checks_that_migrations_made_are_those_of_the_tables(database, table):
    defined = text("SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = :name ::regclass")
    name = table.__tablename__
    with undone() as session:
        checks = text(f"{defined.text} AND contype = 'c'").bindparams(name=name)
        migrated = dict(session.execute(checks).all())
        for check in table.__table__.constraints:
            if isinstance(check, CheckConstraint):
                session.execute(text(f"ALTER TABLE {name} DROP CONSTRAINT {check.name}"))
                session.execute(text(f"ALTER TABLE {name} ADD CONSTRAINT {check.name} CHECK ({check.sqltext})"))

        assert dict(session.execute(checks).all()) == migrated
        assert migrated.keys() == {
            check.name for check in table.__table__.constraints if isinstance(check, CheckConstraint)
        }


# -- what claim and reaper do ------------------------------------------------------------------------------------------


def messages(session: Session) -> int:
    return int(session.execute(text("SELECT count(*) FROM outbox")).scalar_one())


def test_a_worker_claims_what_may_be_claimed_and_leaves_every_other_run_as_it_is(run):
    for condition, meaning in MEANINGS.items():
        with undone() as session:
            session.execute(update(TABLE).values(**columns(condition)))
            claimed = leases.claim(session, run.id, "worker 2")
            session.flush()
            after = condition_of(session, run.id)
            row = session.get_one(Run, run.id, populate_existing=True)

            assert (claimed is not None) == meaning.claimable, condition
            if claimed is None:
                assert after == condition
                continue
            begun = RunState.SNAPSHOTTING if condition.state is RunState.QUEUED else condition.state
            assert after == Condition(begun, paused=False, waiting=False, hold=Hold.HELD)
            assert claimed.state is begun
            assert row.lease_owner == "worker 2"
            assert row.lost == (condition.hold is Hold.SILENT)


def test_the_reaper_does_to_every_run_what_its_condition_says(run):
    for condition, meaning in MEANINGS.items():
        with undone() as session:
            session.execute(update(TABLE).values(**columns(condition)))
            before = messages(session)
            touched = leases.reap(session)
            session.flush()
            after = condition_of(session, run.id)
            rung = messages(session) - before
            row = session.get_one(Run, run.id, populate_existing=True)
            last = runs.get(session, DESK, run.id).transitions[-1].kind
            freed = Condition(condition.state, condition.paused, condition.waiting, Hold.FREE)
            ended = Condition(RunState.CANCELLED, paused=False, waiting=False, hold=Hold.FREE)

            assert (touched, rung, row.lost, last, after) == {
                Reaping.LEAVE: (0, 0, 0, "requested", condition),
                Reaping.RING: (1, 1, 0, "requested", condition),
                Reaping.FREE: (1, 0, 0, "silent", freed),
                Reaping.LOSE: (1, 1, 1, "silent", freed),
                Reaping.CANCEL: (1, 0, 0, "ended", ended),
            }[meaning.reaping], condition
