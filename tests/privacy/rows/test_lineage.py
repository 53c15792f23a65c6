"""The lineage of a snapshot: its runs and checkpoints, and the periods in which those were live."""

import pytest
from thumbwheel import wire

from app.database import new_id, transaction
from app.privacy.lineage import service as lineage
from app.releases import service as releases
from tests.desk import DESK, checkpoint, execute, make_project, vote


@pytest.fixture(autouse=True)
def _project(database):
    make_project()
    vote()


def ship(checkpoint_id) -> wire.Release:
    with transaction() as session:
        return releases.ship(session, DESK, wire.NewRelease(checkpoint_id=checkpoint_id), "key ops")


def test_checkpoints_of_a_snapshot_are_listed_with_those_that_continue_from_them(tmp_path):
    first = checkpoint(tmp_path / "1")
    shipped = ship(first)
    vote(10, start=100)
    second = checkpoint(tmp_path / "2")
    replaced = ship(second)
    [(snapshot, run)] = execute("SELECT snapshot_id, run_id FROM checkpoints WHERE id = :id", id=first)

    with transaction() as session:
        found = lineage.checkpoints_of(session, DESK, [snapshot])
        runs = lineage.runs_on(session, DESK, [snapshot])
        active = lineage.runs_on(session, DESK, [snapshot], active=True)

    assert [(one.checkpoint_id, one.itself) for one in found] == [(first, True), (second, False)]
    assert [(period.since, period.until) for period in found[0].live] == [(shipped.created_at, replaced.created_at)]
    assert [(period.since, period.until) for period in found[1].live] == [(replaced.created_at, None)]
    assert [(one.run_id, one.state) for one in runs] == [(run, "succeeded")]
    assert active == []


def test_a_snapshot_leads_back_to_those_that_were_redacted_before_it(tmp_path):
    older = checkpoint(tmp_path / "1")
    vote(10, start=100)
    newer = checkpoint(tmp_path / "2")
    [old], [new] = (execute("SELECT snapshot_id FROM checkpoints WHERE id = :id", id=one)[0] for one in (older, newer))
    execute(
        "INSERT INTO snapshot_redactions (snapshot_id, successor_id, erasure_id, rows, shards, redacted_at) "
        "VALUES (:old, :new, :erasure, 1, '[]', now())",
        old=old, new=new, erasure=new_id(),
    )  # fmt: skip

    with transaction() as session:
        assert set(lineage.with_predecessors(session, [new])) == {old, new}
        assert lineage.with_predecessors(session, [old]) == [old]
