"""Versions of label policies and the ledger of adoptions: both are only appended to, one entry at a time."""

import pytest
from sqlalchemy.exc import DatabaseError
from thumbwheel import wire

from app.database import transaction
from app.errors import NotFound, Refused
from app.labels.policies import service as policies
from app.labels.policies.documents import document_of, sha256_of
from tests.desk import DESK, at_once, execute, make_project


@pytest.fixture(autouse=True)
def _project(database):
    make_project()


def create(name="support", note="", **document):
    policy = wire.LabelPolicy.model_validate({"name": name, **document})
    with transaction() as session:
        return policies.create(session, DESK, wire.NewLabelPolicy(policy=policy, note=note), "key test")


def adopt(version, reason=""):
    with transaction() as session:
        return policies.adopt(session, DESK, version, reason, "key test")


def adopted():
    with transaction() as session:
        return policies.adopted(session, DESK)


def versions(limit=50):
    found, cursor = [], None
    with transaction() as session:
        while True:
            page = policies.page(session, DESK, cursor=cursor, limit=limit)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return [item.version for item in found]


def test_at_first_the_default_of_the_server_is_adopted_and_lies_in_no_table():
    shown = adopted()

    assert (shown.version, shown.adopted, shown.created_at, shown.created_by) == (0, True, None, None)
    assert shown.policy == wire.LabelPolicy()
    assert shown.sha256 == sha256_of(wire.LabelPolicy())
    assert execute("SELECT count(*) FROM label_policies") == [(0,)]


def test_a_policy_is_stored_whole_and_changes_no_label_until_it_is_adopted():
    stored, new = create(note="outcomes count", signals={"outcome": {"solved": {"true": {"label": "desirable"}}}})

    assert new
    assert (stored.version, stored.adopted, stored.note, stored.created_by) == (1, False, "outcomes count", "key test")
    [(document,)] = execute("SELECT document FROM label_policies")
    assert document == document_of(stored.policy)
    assert document["signals"]["copy"]["weight"] == 0.5
    assert adopted().version == 0

    adopt(1, "the pilot went well")
    assert adopted() == stored.model_copy(update={"adopted": True})


def test_the_same_policy_again_is_the_version_that_there_is_however_it_is_written():
    first, _ = create(note="first")
    create("another")

    again, new = create(note="said otherwise", precedence=list(wire.LabelPolicy().precedence))

    assert not new
    assert again == first
    assert versions() == [2, 1, 0]


def test_the_default_can_be_stored_so_that_a_newer_server_changes_nothing():
    stored, new = create("default")

    assert (new, stored.version) == (True, 1)
    assert stored.sha256 == adopted().sha256


def test_policies_that_are_made_at_once_get_a_version_each_and_equal_ones_get_one_together():
    made = at_once(6, lambda number: create(f"policy {number % 3}"))

    assert sorted(stored.version for stored, _ in made) == [1, 1, 2, 2, 3, 3]
    assert sum(new for _, new in made) == 3
    assert versions(limit=2) == [3, 2, 1, 0]


def test_the_newest_adoption_counts_and_the_ledger_keeps_them_all():
    create("a")
    create("b")
    adopt(2, "better")
    adopt(1, "worse after all")
    adopt(0)

    assert adopted().version == 0
    with transaction() as session:
        ledger = policies.history(session, DESK, cursor=None, limit=50).items
    assert [(entry.number, entry.version, entry.reason, entry.by) for entry in ledger] == [
        (3, 0, "", "key test"),
        (2, 1, "worse after all", "key test"),
        (1, 2, "better", "key test"),
    ]


def test_of_several_who_adopt_the_same_at_once_one_does():
    create()

    done = at_once(4, lambda _: adopt(1))

    assert sum(isinstance(one, Refused) for one in done) == 3
    assert execute("SELECT count(*) FROM label_policy_adoptions") == [(1,)]


def test_what_is_not_there_or_adopted_already_is_refused_and_changes_nothing():
    with pytest.raises(NotFound, match="has no label policy 1: the newest version is 0"):
        adopt(1)
    with pytest.raises(Refused, match="Version 0 is adopted already"):
        adopt(0)
    with pytest.raises(NotFound), transaction() as session:
        policies.create(session, "nobody", wire.NewLabelPolicy(policy=wire.LabelPolicy()), "key test")

    assert execute("SELECT count(*) FROM label_policy_adoptions") == [(0,)]


@pytest.mark.parametrize("table", ["label_policies", "label_policy_adoptions"])
@pytest.mark.parametrize("change", ["UPDATE {} SET created_at = now()", "DELETE FROM {}"])
def test_postgres_itself_keeps_versions_and_ledger_from_changes(table, change):
    create()
    adopt(1)

    with pytest.raises(DatabaseError, match=f"rows of {table} are never changed"):
        execute(change.format(table))
    assert adopted().version == 1


def test_versions_and_adoptions_of_one_project_are_no_business_of_another():
    make_project("other")
    create()
    adopt(1)

    with transaction() as session:
        assert policies.adopted(session, "other").version == 0
        with pytest.raises(NotFound):
            policies.get(session, "other", 1)
