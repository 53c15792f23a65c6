"""The ledger: its newest entry is live, and Postgres refuses entries that break its rules."""

from pathlib import Path

import pytest
from sqlalchemy.exc import DatabaseError, IntegrityError
from thumbwheel import wire

from app.database import new_id, transaction
from app.errors import Conflict, NotFound, Refused
from app.releases import service as releases
from tests.desk import DESK, at_once, checkpoint, execute, make_project, vote

WHY = "the incident of today needs it"


@pytest.fixture(autouse=True)
def _project(database):
    make_project()
    vote()


def current():
    with transaction() as session:
        return releases.current(session, DESK)


def ship(checkpoint_id, **how):
    with transaction() as session:
        return releases.ship(session, DESK, wire.NewRelease(checkpoint_id=checkpoint_id, **how), "key test")


def roll_back():
    with transaction() as session:
        return releases.ship(session, DESK, wire.NewRelease(rollback=True, reason="worse"), "key test")


def ledger():
    with transaction() as session:
        return [(entry.number, entry.action) for entry in releases.page(session, DESK, cursor=None, limit=50).items]


def test_the_ledger_of_a_new_project_begins_with_its_base_model():
    assert ledger() == [(1, "start")]
    assert (current().number, current().action, current().checkpoint.kind) == (1, "start", "base")
    assert (current().base_model, current().by) == ("/models/base", "thumbwheel")


def test_a_project_that_exists_already_gets_no_second_beginning():
    with pytest.raises(Conflict):
        make_project(base_model=Path("/models/another"))

    assert ledger() == [(1, "start")]
    assert execute("SELECT base_model FROM checkpoints") == [("/models/base",)]


def test_what_is_live_is_read_in_a_transaction_that_cannot_write():
    with transaction(read_only=True) as session:
        assert releases.current(session, DESK).number == 1


def test_an_unknown_project_has_no_ledger():
    with transaction() as session:
        with pytest.raises(NotFound, match="no project 'unknown'"):
            releases.current(session, "unknown")
        with pytest.raises(NotFound, match="no project 'unknown'"):
            releases.page(session, "unknown", cursor=None, limit=50)


def test_what_is_shipped_is_live(tmp_path):
    made = checkpoint(tmp_path)

    release = ship(made, reason="better in the pilot")

    assert (release.number, release.action, release.by) == (2, "ship", "key test")
    assert current().checkpoint.id == made
    assert current().checkpoint.live


def test_what_is_live_already_is_not_shipped_again(tmp_path):
    made = checkpoint(tmp_path)
    ship(made)

    with pytest.raises(Refused, match="is live already"):
        ship(made)

    assert ledger() == [(2, "ship"), (1, "start")]


def test_a_checkpoint_that_its_gates_refused_ships_only_with_a_reason(tmp_path):
    made = checkpoint(tmp_path, reasons=["auroc: too low", "kl: too high"])

    with pytest.raises(Refused) as refused:
        ship(made)
    assert refused.value.code == "gates_failed"
    assert refused.value.reasons == ("auroc: too low", "kl: too high")

    assert ship(made, override_reason=WHY).override_reason == WHY
    assert current().checkpoint.verdict == "refused"


def test_an_override_reason_is_kept_on_a_checkpoint_whose_gates_passed(tmp_path):
    assert ship(checkpoint(tmp_path), override_reason=WHY).override_reason == WHY


INSERT = (
    "INSERT INTO releases (id, project_id, number, checkpoint_id, verdict, action, reason, by, created_at) "
    "VALUES (:id, :project, 2, :checkpoint, :verdict, 'ship', '', 'a back door', now())"
)


@pytest.mark.parametrize(
    ("verdict", "guard"),
    [("refused", "ck_releases_passed_or_overridden"), ("passed", "fk_releases_checkpoint_with_verdict")],
)
def test_postgres_itself_refuses_a_failed_checkpoint_without_a_reason_and_a_lie_about_its_verdict(
    tmp_path, verdict, guard
):
    made = checkpoint(tmp_path, reasons=["auroc: too low"])

    with pytest.raises(IntegrityError, match=guard):
        execute(INSERT, id=new_id(), project=DESK, checkpoint=made, verdict=verdict)


def test_postgres_itself_refuses_a_checkpoint_of_another_project(tmp_path):
    make_project("other")

    with pytest.raises(IntegrityError, match="fk_releases_checkpoint_with_verdict"):
        execute(INSERT, id=new_id(), project="other", checkpoint=checkpoint(tmp_path), verdict="passed")


def test_postgres_refuses_to_change_the_ledger():
    current()

    with pytest.raises(DatabaseError, match="rows of releases are never changed"):
        execute("UPDATE releases SET reason = 'another'")


def test_a_rollback_ships_what_was_live_before_and_a_second_one_goes_further_back(tmp_path):
    base = current().checkpoint.id
    first, second = checkpoint(tmp_path), checkpoint(tmp_path)
    ship(first)
    ship(second)

    assert roll_back().checkpoint_id == first
    assert roll_back().checkpoint_id == base
    with pytest.raises(Refused, match="no earlier release"):
        roll_back()

    ship(second)
    assert roll_back().checkpoint_id == base
    assert [action for _, action in ledger()] == ["rollback", "ship", "rollback", "rollback", "ship", "ship", "start"]


def test_a_rollback_to_an_overridden_checkpoint_needs_no_new_reason(tmp_path):
    overridden = checkpoint(tmp_path, reasons=["auroc: too low"])
    ship(overridden, override_reason=WHY)
    ship(checkpoint(tmp_path))

    release = roll_back()

    assert (release.checkpoint_id, release.override_reason) == (overridden, WHY)


def test_shipping_at_once_makes_a_ledger_without_gaps(tmp_path):
    made = [checkpoint(tmp_path) for _ in range(3)]

    at_once(3, lambda number: ship(made[number]))

    assert sorted(ledger()) == [(1, "start"), (2, "ship"), (3, "ship"), (4, "ship")]


def test_an_unknown_checkpoint_is_not_shipped():
    with pytest.raises(NotFound):
        ship(new_id())
