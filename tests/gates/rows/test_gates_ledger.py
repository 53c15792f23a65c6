"""Versions of gates and the ledger of adoptions: both are only appended to, and projects and runs keep what counts."""

import pytest
from sqlalchemy.exc import DatabaseError
from thumbwheel import wire

from app.database import transaction
from app.errors import Conflict, Invalid, NotFound, Refused
from app.gates import service as gates
from app.gates.documents import sha256_of, values_of
from app.gates.presets import STANDARD, STRICT, TOY
from app.project_setup import service as project_setup
from app.projects import service as projects
from tests.desk import DESK, at_once, claim, execute, make_project, request, vote

OWN = wire.GateDocument(name="own", rules=[wire.GateRule(metric="auroc", above=0.6)])


@pytest.fixture(autouse=True)
def _project(database):
    make_project()


def create(choice, note=""):
    with transaction() as session:
        return gates.create(session, DESK, wire.NewGates(gates=choice, note=note), "key test")


def adopt(version, reason=""):
    with transaction() as session:
        return gates.adopt(session, DESK, version, reason, "key test")


def adopted():
    with transaction(read_only=True) as session:
        of_ledger, of_project = gates.adopted(session, DESK), projects.get(session, DESK).gates
    assert (of_ledger.version, of_ledger.sha256, of_ledger.document) == (
        of_project.version,
        of_project.sha256,
        of_project.document,
    )
    return of_project


def change(**sections):
    with transaction() as session:
        return project_setup.change(session, DESK, wire.ProjectChange(**sections), "key test")


def history():
    with transaction(read_only=True) as session:
        return [(entry.version, entry.by) for entry in gates.history(session, DESK, cursor=None, limit=50).items]


def test_a_project_begins_with_the_gates_that_it_names_or_with_the_standard():
    with transaction() as session:
        project_setup.create(session, wire.NewProject(project="new", base_model="/models/base"), "key a")
        first = gates.adopted(session, "new")
        [entry] = gates.history(session, "new", cursor=None, limit=50).items

    assert (first.version, first.document, first.sha256) == (1, STANDARD, sha256_of(STANDARD))
    assert (entry.version, entry.by) == (1, "key a")
    assert adopted().document == TOY


def test_gates_are_stored_whole_and_judge_nothing_until_they_are_adopted():
    stored, new = create(OWN, note="one rule is enough")

    assert new
    assert (stored.version, stored.adopted, stored.note, stored.created_by) == (
        2,
        False,
        "one rule is enough",
        "key test",
    )
    assert execute("SELECT document FROM gates WHERE project_id = 'desk' AND version = 2") == [(values_of(OWN),)]
    assert adopted().version == 1

    adopt(2, "the pilot went well")
    assert (adopted().version, adopted().document) == (2, OWN)
    assert history() == [(2, "key test"), (1, "thumbwheel")]
    with pytest.raises(Refused, match="Version 2 is adopted already"):
        adopt(2)


def test_the_same_document_again_is_the_version_that_there_is():
    assert create("toy") == create(TOY, note="by its document")
    assert create(OWN)[0].version == create(OWN, note="again")[0].version == 2


def test_a_change_of_the_project_stores_and_adopts_its_gates():
    assert change(gates="strict").gates.document == STRICT
    assert change(gates=STRICT).gates.version == 2
    assert change(gates="toy").gates.version == 1
    assert [version for version, _ in history()] == [1, 2, 1]


def test_faulty_gates_change_nothing_and_every_fault_has_its_place():
    faulty = wire.GateDocument(name="own", rules=[wire.GateRule(metric="x", above=0), wire.GateRule(metric="auroc")])
    calls = (
        lambda: create(faulty),
        lambda: change(gates=faulty, trigger=wire.TriggerRules(new_per_class=3)),
        lambda: make_project("other", gates=faulty),
    )
    for call in calls:
        with pytest.raises(Invalid) as refused:
            call()
        assert refused.value.code == "invalid_gates"
        assert [fault.pointer for fault in refused.value.faults] == ["/gates/rules/0/metric", "/gates/rules/1"]
    assert adopted().document == TOY
    assert execute("SELECT count(*) FROM gates") == [(1,)]
    with transaction(read_only=True) as session:
        assert projects.get(session, DESK).trigger.new_per_class is None


def test_a_requested_run_keeps_the_gates_that_it_began_with():
    vote()
    run = request()

    change(gates="strict")

    kept = claim(run.id).configuration.gates
    assert (kept.version, kept.document, kept.sha256) == (1, TOY, sha256_of(TOY))


def test_an_unknown_version_is_named_with_the_newest():
    for version in (0, 2, 2**31 - 1):
        with pytest.raises(NotFound, match="the newest version is 1"):
            adopt(version)


def test_versions_are_counted_one_by_one_while_many_are_stored_at_once():
    documents = [OWN.model_copy(update={"name": f"own {number}"}) for number in range(5)]

    stored = at_once(5, lambda number: create(documents[number])[0].version)

    assert sorted(stored) == [2, 3, 4, 5, 6]


def test_postgres_refuses_to_change_versions_and_ledger():
    for statement in (
        "UPDATE gates SET note = 'x'",
        "DELETE FROM gate_adoptions",
        "UPDATE gate_adoptions SET version = 1",
    ):
        with pytest.raises(DatabaseError, match="are never changed"):
            execute(statement)


def test_a_project_that_exists_gets_no_second_beginning():
    with pytest.raises(Conflict):
        make_project(gates="strict")

    assert history() == [(1, "thumbwheel")]
