"""Snapshots, audits and comparisons of edits whose feedback expires."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from thumbwheel import wire

from app import artifacts
from app.database import transaction
from app.errors import Gone
from app.labels.audits import service as audits
from app.privacy.retention import service as retention
from app.releases import service as releases
from app.runs import service as runs
from app.snapshots.reading import service as reading
from tests.desk import DESK, checkpoint, execute, finish, make_project, ready_to_finish, vote
from tests.logged import store
from tests.privacy.rows.test_erasures import tables_with
from tests.privacy.rows.test_retention import BY, OLD, done, hold, keep, plan, received, release, unfinished, work

WORD = "mangrove"


@pytest.fixture(autouse=True)
def _project(database: str) -> Iterator[None]:
    make_project()
    received(OLD, [old_vote(number) for number in range(40)])
    yield
    execute("DROP TABLE IF EXISTS events_2024_03")


def old_vote(number: int) -> dict[str, object]:
    return {
        "event_id": f"old{number}",
        "completion_id": f"old{number}",
        "actor": f"user {number}",
        "prompt": f"Where does the {WORD} {number} grow?",
        "completion": f"{WORD} number {number} grows at the coast.",
        "signal": {"kind": "thumbs", "value": ("up", "down")[number % 2]},
    }


def snapshots() -> list[wire.Snapshot]:
    with transaction() as session:
        return reading.page(session, DESK, cursor=None, limit=50).items


def rows_of(snapshot: wire.Snapshot) -> int:
    return sum(counts.desirable + counts.undesirable for counts in snapshot.counts.values())


def make_old(snapshot_id: UUID) -> None:
    execute("ALTER TABLE snapshots DISABLE TRIGGER refuse_update")
    execute("UPDATE snapshots SET created_at = :at WHERE id = :id", at=OLD, id=snapshot_id)
    execute("ALTER TABLE snapshots ENABLE TRIGGER refuse_update")


def stored_texts() -> list[str]:
    """Returns the snapshots of which a file with the words of the old feedback is left."""
    with transaction() as session:
        return [
            str(each.id)
            for each in reading.page(session, DESK, cursor=None, limit=50).items
            if any(_is_stored(sha256) for path, sha256 in each.files.items() if path.endswith("-text.parquet"))
        ]


def _is_stored(sha256: str) -> bool:
    return sha256 in {file.sha256 for file in artifacts.stored()}


def test_a_snapshot_loses_the_rows_of_expired_feedback_and_keeps_the_others(tmp_path: Path):
    vote(40)
    checkpoint(tmp_path)
    [before] = snapshots()
    keep(13)

    work()

    successor, old = snapshots()
    assert (old.id, old.successor_id, successor.redacted_at) == (before.id, successor.id, None)
    assert rows_of(successor) == 40
    [month] = [each for each in done() if each.snapshots]
    assert (month.snapshots[0].snapshot_id, month.snapshots[0].rows) == (before.id, 40)
    with transaction() as session, pytest.raises(Gone, match="retention"):
        reading.open_file(session, DESK, old.id, "train-text.parquet")
    assert stored_texts() == [str(successor.id)]
    assert tables_with(WORD) == []


def test_a_snapshot_of_expired_feedback_alone_has_no_successor_and_its_checkpoint_stays(tmp_path: Path):
    made = checkpoint(tmp_path)
    keep(13)

    work()

    [old] = snapshots()
    assert (old.redacted_at is not None, old.successor_id) == (True, None)
    assert stored_texts() == []
    assert execute("SELECT id FROM checkpoints WHERE id = :id", id=made) != []


def test_the_snapshot_of_a_run_is_never_taken_away_under_it(tmp_path: Path):
    claimed = ready_to_finish(tmp_path)
    [used] = snapshots()
    keep(13)
    plan()
    for _ in range(20):
        for each in unfinished():
            retention.advance(each.id)

    [waiting] = unfinished()
    assert (waiting.step, str(used.id) in (waiting.trouble or "")) == ("snapshots", True)
    assert stored_texts() == [str(used.id)]

    finish(claimed, tmp_path)
    work()

    assert snapshots()[0].redacted_at is not None
    with transaction() as session:
        assert runs.get(session, DESK, claimed.lease.run_id).state == "succeeded"


def test_kept_snapshots_live_until_they_are_as_old_themselves_and_nothing_live_comes_from_them(tmp_path: Path):
    made = checkpoint(tmp_path)
    [snapshot] = snapshots()
    keep(13, snapshots="keep")
    work()
    assert snapshots()[0].redacted_at is None

    make_old(snapshot.id)
    with transaction() as session:
        releases.ship(session, DESK, wire.NewRelease(checkpoint_id=made), BY)
    expire_again()
    assert snapshots()[0].redacted_at is None

    with transaction() as session:
        releases.ship(session, DESK, wire.NewRelease(rollback=True), BY)
    expire_again()
    assert (snapshots()[0].redacted_at is not None, stored_texts()) == (True, [])


def expire_again() -> None:
    """Expires another month, as a month later."""
    keep(None)
    received(OLD, [old_vote(len(done()) + 1000)])
    keep(13, snapshots="keep")
    work()


def test_a_stricter_rule_reaches_the_snapshots_that_were_kept(tmp_path: Path):
    checkpoint(tmp_path)
    keep(13, snapshots="keep")
    execute("UPDATE projects SET created_at = :at", at=OLD)
    work()

    keep(13)
    work()

    assert snapshots()[0].redacted_at is not None


def test_rows_of_held_feedback_stay_in_snapshots(tmp_path: Path):
    checkpoint(tmp_path)
    placed = hold(actor="user 7")
    keep(13)

    work()

    successor = snapshots()[0]
    assert rows_of(successor) == 1
    release(placed)
    work()
    assert all(each.redacted_at for each in snapshots())


def test_audits_lose_their_texts_and_keep_their_verdicts():
    with transaction() as session:
        audit = audits.start(session, DESK, wire.NewAudit(per_class=200), BY)
        [first, *_] = audits.items(session, DESK, audit.id, pending=False, cursor=None, limit=5).items
        audits.give(session, DESK, audit.id, first.number, wire.NewAuditVerdict(verdict="agree"), BY)
    keep(13)

    work()

    assert tables_with(WORD) == []
    assert sum(each.audit_items for each in done()) > 0
    assert execute("SELECT count(*) FROM label_audit_verdicts") == [(1,)]


def test_comparisons_of_edits_go_with_the_edits(tmp_path: Path):
    edit = {"kind": "edit", "text": "It grows at the coast."}
    received(OLD, [{**old_vote(100), "signal": edit}])
    store(DESK, [{**old_vote(101), "signal": edit}])
    vote(40)
    checkpoint(tmp_path)
    assert execute("SELECT count(*) FROM edit_comparisons") == [(2,)]
    keep(13)

    work()

    assert execute("SELECT count(*) FROM edit_comparisons") == [(1,)]
