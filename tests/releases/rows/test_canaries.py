"""Canaries: a share of the actors gets another checkpoint, and what is live stays."""

import pytest
from sqlalchemy.exc import IntegrityError
from thumbwheel import wire

from app.database import transaction
from app.errors import Refused
from app.privacy.lineage import store as lineage
from app.releases import service as releases
from tests.desk import DESK, checkpoint, execute, make_project, vote

ACTORS = [f"actor-{number}" for number in range(400)]


@pytest.fixture(autouse=True)
def _project(database):
    make_project()
    vote()


def release(**new):
    with transaction() as session:
        return releases.ship(session, DESK, wire.NewRelease(**new), "key test")


def current():
    with transaction() as session:
        return releases.current(session, DESK)


def canary_actors():
    with transaction() as session:
        given = [releases.assignment(session, DESK, actor) for actor in ACTORS]
    return {each.actor for each in given if each.canary}, {each.checkpoint_id for each in given}


def test_a_canary_leaves_the_live_release_as_it_is_and_gets_its_share_of_the_actors(tmp_path):
    base, made = current().checkpoint_id, checkpoint(tmp_path)

    entry = release(checkpoint_id=made, share=0.2, reason="a pilot")

    assert (entry.number, entry.action, entry.share) == (2, "canary", 0.2)
    assert (current().checkpoint_id, current().checkpoint.live) == (base, True)
    assert current().canary == entry
    actors, given = canary_actors()
    assert given == {base, made}
    assert 0.12 < len(actors) / len(ACTORS) < 0.28
    assert canary_actors() == (actors, given)


def test_actors_keep_the_canary_while_its_share_grows_and_another_canary_gets_others(tmp_path):
    first, second = checkpoint(tmp_path / "first"), checkpoint(tmp_path / "second")
    release(checkpoint_id=first, share=0.2)
    few, _ = canary_actors()

    release(checkpoint_id=first, share=0.5)
    more, _ = canary_actors()
    release(checkpoint_id=second, share=0.5)
    others, _ = canary_actors()

    assert few < more
    assert others != more
    assert others & more


def test_shipping_the_canary_makes_it_live_for_all(tmp_path):
    made = checkpoint(tmp_path)
    release(checkpoint_id=made, share=0.2)

    assert release(checkpoint_id=made).action == "ship"

    assert (current().checkpoint_id, current().canary) == (made, None)
    assert canary_actors() == (set(), {made})


def test_a_rollback_ends_the_canary_and_the_next_one_what_was_live(tmp_path):
    base = current().checkpoint_id
    shipped, tried = checkpoint(tmp_path / "shipped"), checkpoint(tmp_path / "tried")
    release(checkpoint_id=shipped)
    release(checkpoint_id=tried, share=0.2)

    ended = release(rollback=True, reason="complaints")

    assert (ended.action, ended.checkpoint_id, ended.share) == ("end_canary", tried, None)
    assert (current().checkpoint_id, current().canary) == (shipped, None)
    assert release(rollback=True).action == "rollback"
    assert current().checkpoint_id == base


def test_a_new_base_model_ends_the_canary(tmp_path):
    release(checkpoint_id=checkpoint(tmp_path), share=0.2)

    with transaction() as session:
        releases.start_over(session, DESK, wire.NewBaseModel(base_model="/models/other"), "key test")

    assert (current().base_model, current().canary) == ("/models/other", None)


def test_a_canary_needs_gates_or_an_override_and_keeps_the_override_until_its_end(tmp_path):
    refused = checkpoint(tmp_path, reasons=["auroc: the lower bound is 0.43"])
    with pytest.raises(Refused, match="did not pass its gates"):
        release(checkpoint_id=refused, share=0.2)
    release(checkpoint_id=refused, share=0.2, override_reason="a trial with our own staff")

    assert release(rollback=True).override_reason == "a trial with our own staff"


def test_a_canary_that_changes_nothing_is_refused(tmp_path):
    base, made = current().checkpoint_id, checkpoint(tmp_path)
    release(checkpoint_id=made, share=0.2)

    with pytest.raises(Refused, match="is a canary with this share already"):
        release(checkpoint_id=made, share=0.2)
    with pytest.raises(Refused, match="is live already"):
        release(checkpoint_id=base, share=0.2)
    assert release(checkpoint_id=made, share=0.3).number == 3


def test_the_periods_of_a_canary_and_of_what_was_live_beside_it_are_told_apart(tmp_path):
    base, made = current().checkpoint_id, checkpoint(tmp_path)
    release(checkpoint_id=made, share=0.2)
    release(rollback=True)
    release(checkpoint_id=made)

    with transaction() as session:
        periods = lineage.periods(session, DESK, [base, made])

    at = dict(execute("SELECT number, created_at FROM releases"))
    assert [(period.checkpoint_id, period.since, period.until) for period in periods] == [
        (base, at[1], at[4]),
        (made, at[2], at[3]),
        (made, at[4], None),
    ]


@pytest.mark.parametrize("change", ["share = NULL", "share = 1", "action = 'ship'"])
def test_postgres_refuses_a_share_of_what_is_no_canary(tmp_path, change):
    release(checkpoint_id=checkpoint(tmp_path), share=0.2)
    execute("ALTER TABLE releases DISABLE TRIGGER USER")

    with pytest.raises(IntegrityError):
        execute(f"UPDATE releases SET {change} WHERE number = 2")

    execute("ALTER TABLE releases ENABLE TRIGGER USER")
