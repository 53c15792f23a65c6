"""Versions of suites and the ledger of adoptions: both are only appended to, and a run keeps those of its request."""

import pytest
from sqlalchemy.exc import DatabaseError
from thumbwheel import wire

from app.database import transaction
from app.errors import Invalid, NotFound, Refused
from app.project_setup import service as project_setup
from app.runs.again import service as again
from app.suites import own
from app.suites.documents import document_of
from app.suites.versions import service as suites
from tests.desk import DESK, at_once, claim, execute, make_project, request, shown, vote


@pytest.fixture(autouse=True)
def _project(database):
    make_project()


def suite(name="support", word="yes"):
    test = {"vars": {"q": "Is it open?"}, "assert": [{"type": "icontains", "value": word}]}
    return wire.Suite.model_validate({"name": name, "prompts": ["{{q}}", "Briefly: {{q}}"], "tests": [test]})


def create(name="support", word="yes", note=""):
    with transaction() as session:
        return suites.create(session, DESK, wire.NewSuite(suite=suite(name, word), note=note), "key test")


def adopt(name, version, reason=""):
    with transaction() as session:
        new = wire.NewSuiteAdoption(name=name, version=version, reason=reason)
        return suites.decide(session, DESK, new, "key test")


def drop(name, reason=""):
    with transaction() as session:
        return suites.decide(session, DESK, wire.NewSuiteAdoption(name=name, drop=True, reason=reason), "key test")


def adopted(project=DESK):
    with transaction() as session:
        return [(item.name, item.version) for item in suites.adopted(session, project)]


def create_project(project, **chosen):
    with transaction() as session:
        project_setup.create(session, wire.NewProject(project=project, base_model="/models/base", **chosen))


def test_a_new_project_adopts_the_suites_of_the_server_unless_it_names_others():
    create_project("all")
    create_project("some", suites=["refusal"])
    create_project("none", suites=[])

    assert adopted("all") == [(name, 0) for name in own.names()]
    assert adopted("some") == [("refusal", 0)]
    assert adopted("none") == []
    with pytest.raises(Invalid, match="/suites/1: no suite of this server is named 'reefusal'"):
        create_project("wrong", suites=["refusal", "reefusal"])
    assert execute("SELECT count(*) FROM projects WHERE id = 'wrong'") == [(0,)]


def test_a_suite_is_stored_whole_and_runs_once_it_is_adopted():
    stored, new = create(note="opening hours")

    assert new
    assert (stored.version, stored.tests, stored.samples, stored.adopted) == (1, 1, 2, False)
    assert (stored.note, stored.created_by) == ("opening hours", "key test")
    [(kept,)] = execute("SELECT document FROM suites")
    assert kept == document_of(suite())
    assert adopted() == []

    adopt("support", 1, "agreed")

    assert adopted() == [("support", 1)]
    with transaction() as session:
        assert suites.get(session, DESK, "support", 1).adopted
        assert suites.get(session, DESK, "support", 1).suite == suite()


def test_the_same_suite_again_is_the_existing_version_and_a_change_is_the_next_one_of_its_name():
    first, _ = create()
    again_stored, again_new = create(note="worded differently")
    second, _ = create(word="no")
    other, _ = create("another")

    assert (again_stored, again_new) == (first, False)
    assert (second.name, second.version) == ("support", 2)
    assert (other.name, other.version) == ("another", 1)


def test_suites_that_are_stored_at_once_get_a_version_each_and_equal_ones_share_one():
    stored = at_once(6, lambda number: create(word=f"word {number % 3}"))

    assert sorted(item.version for item, _ in stored) == [1, 1, 2, 2, 3, 3]


def test_another_version_takes_the_place_of_the_adopted_one_and_the_ledger_keeps_all_reasons():
    create()
    create(word="no")
    adopt("support", 1, "first")
    adopt("refusal", 0, "the server's")
    adopt("support", 2, "stricter")
    drop("refusal", "not our topic")

    assert adopted() == [("support", 2)]
    with transaction() as session:
        ledger = suites.history(session, DESK, cursor=None, limit=50).items
    assert [(entry.number, entry.name, entry.version, entry.reason) for entry in ledger] == [
        (4, "refusal", None, "not our topic"),
        (3, "support", 2, "stricter"),
        (2, "refusal", 0, "the server's"),
        (1, "support", 1, "first"),
    ]


def test_a_decision_that_changes_nothing_is_refused():
    create()
    adopt("support", 1)

    with pytest.raises(Refused, match="adopted already"):
        adopt("support", 1)
    with pytest.raises(Refused, match="'refusal' is not adopted"):
        drop("refusal")
    with pytest.raises(NotFound, match="its newest version is 1"):
        adopt("support", 2)
    with pytest.raises(NotFound, match="only version 0"):
        adopt("refusal", 1)
    with pytest.raises(NotFound, match="no suite of this name"):
        adopt("unheard of", 0)
    assert execute("SELECT count(*) FROM suite_adoptions") == [(1,)]


def test_of_several_who_adopt_the_same_at_once_one_does():
    done = at_once(4, lambda _: adopt("refusal", 0))

    assert sum(isinstance(outcome, Refused) for outcome in done) == 3
    assert adopted() == [("refusal", 0)]


def test_no_more_suites_are_adopted_than_an_evaluation_can_run(monkeypatch):
    monkeypatch.setattr(suites, "MOST_ADOPTED", 2)
    adopt("refusal", 0)
    adopt("sycophancy", 0)

    with pytest.raises(Refused, match="2 suites are adopted"):
        adopt("instruction-format", 0)


@pytest.mark.parametrize("table", ["suites", "suite_adoptions"])
@pytest.mark.parametrize("change", ["UPDATE {} SET created_at = now()", "DELETE FROM {}"])
def test_postgres_itself_refuses_changes_of_versions_and_ledger(table, change):
    create()
    adopt("support", 1)

    with pytest.raises(DatabaseError, match=f"rows of {table} are never changed"):
        execute(change.format(table))


def test_suites_of_another_project_are_unknown():
    make_project("other")
    create()

    with transaction() as session, pytest.raises(NotFound):
        suites.get(session, "other", "support", 1)
    with pytest.raises(NotFound), transaction() as session:
        suites.create(session, "nobody", wire.NewSuite(suite=suite()), "key test")


def test_a_run_and_its_retry_keep_the_suites_of_the_request():
    vote()
    create()
    adopt("support", 1)
    adopt("refusal", 0)
    run = request()
    drop("support")
    claimed = claim(run.id)

    assert [(item.name, item.version) for item in claimed.suites] == [("refusal", 0), ("support", 1)]
    assert shown(run.id).suites == claimed.suites
    execute("UPDATE runs SET state = 'failed', lease_owner = NULL, lease_expires_at = NULL WHERE id = :id", id=run.id)
    with transaction() as session:
        retried = again.retry(session, DESK, run.id, wire.RunAgain(), "key test")
    assert retried.suites == claimed.suites
