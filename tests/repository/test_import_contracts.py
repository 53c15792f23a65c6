"""Every import contract holds on the code as it is, and breaks on the import that it forbids.

The graph of imports is built once. A breach is added to a copy of the graph, not to files.
"""

import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
from grimp import ImportGraph, build_graph
from importlinter.api import read_configuration
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract

from tools import contracts
from tools.contracts import OwnStore, OwnTables

ROOT = Path(__file__).parents[2]
CONFIGURATION = read_configuration(str(ROOT / "pyproject.toml"))
CONTRACTS = CONFIGURATION["contracts_options"]
TYPES = {"forbidden": ForbiddenContract, "layers": LayersContract, "own_store": OwnStore, "own_tables": OwnTables}

#: Contract → a module, and what it must not import. The module without an import is one that must not exist.
BREACHES = {
    "app-without-worker": ("app.labels.policy", "torch"),
    "worker-without-web": ("worker.tasks", "app.web"),
    "layers": ("app.utils", None),
    "inside-a-domain": ("app.feedback.tables", "app.feedback.service"),
    "own-store": ("app.loop.service", "app.runs.store"),
    "pure": ("app.runs.states", "app.database"),
    "statistics-alone": ("app.statistics.power", "scipy"),
    "trainer-knows-files": ("worker.training.train", "app.settings"),
    "supervisor-without-torch": ("worker.execute", "worker.training.train"),
    "light-client": ("thumbwheel.wire.values", "sqlalchemy"),
}

OWN_TABLES = next(contract for contract in CONTRACTS if contract["id"] == "own-tables")

#: Lines that a store of the loop must not have.
FOREIGN_TABLES = [
    'text("SELECT id FROM runs")',
    'text("""\n    SELECT 1 FROM ticks t,\n         runs\n""")',
    'f"SELECT count(*) FROM ticks JOIN runs ON {condition}"',
    'text("INSERT INTO runs (id) VALUES (:id)")',
    'text("UPDATE runs SET note = NULL")',
    'text("DELETE FROM ticks USING runs WHERE runs.id = :id")',
    'table("runs", column("id"))',
    "from app.runs.tables import Run",
]


@pytest.fixture(scope="module")
def graph() -> ImportGraph:
    return build_graph(
        *CONFIGURATION["session_options"]["root_packages"], include_external_packages=True, cache_dir=None
    )


def kept(contract: dict[str, object], graph: ImportGraph) -> bool:
    """Returns whether `graph` keeps the contract. A contract may change the graph that it checks, so it gets a copy."""
    check = TYPES[str(contract["type"])](str(contract["name"]), CONFIGURATION["session_options"], contract)
    return check.check(deepcopy(graph), verbose=False).kept


def append(monkeypatch: pytest.MonkeyPatch, lines: str) -> None:
    """Adds lines to the store of the loop, as contracts read it."""
    read = contracts.source_of
    added = {"app.loop.store": lines}
    monkeypatch.setattr(contracts, "source_of", lambda module: read(module) + added.get(module, ""))


def test_every_contract_has_a_breach_here():
    assert {contract["id"] for contract in CONTRACTS} == {*BREACHES, OWN_TABLES["id"]}


def test_the_command_finds_every_contract_kept_by_the_code_as_it_is():
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--no-cache"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'client'}", "PATH": "/usr/bin:/bin", "COLUMNS": "200"},
    )

    assert done.returncode == 0, done.stdout + done.stderr
    for contract in CONTRACTS:
        assert f"{contract['name']} KEPT" in done.stdout


@pytest.mark.parametrize(
    "contract", [contract for contract in CONTRACTS if contract["id"] in BREACHES], ids=lambda contract: contract["id"]
)
def test_a_contract_breaks_on_the_import_that_it_forbids(graph, contract):
    importer, imported = BREACHES[contract["id"]]
    breached = deepcopy(graph)
    breached.add_module(importer)
    if imported is not None:
        assert importer in graph.modules
        breached.add_import(importer=importer, imported=imported, line_number=1, line_contents=f"import {imported}")

    assert kept(contract, graph)
    assert not kept(contract, breached)


@pytest.mark.parametrize("line", FOREIGN_TABLES)
def test_a_store_that_names_a_table_of_another_room_breaks_the_contract(graph, monkeypatch, line):
    append(monkeypatch, f"\n{line}\n")

    assert not kept(OWN_TABLES, graph)


def test_prose_and_tables_of_the_own_room_keep_the_contract(graph, monkeypatch):
    append(monkeypatch, '\ndef f():\n    """Counts FROM runs."""\n    return "SELECT FROM ticks"\n')

    assert kept(OWN_TABLES, graph)


@pytest.mark.parametrize("change", [lambda allowed: allowed[1:], lambda allowed: [*allowed, "app.loop -> runs"]])
def test_a_permission_that_is_missing_or_not_needed_breaks_the_contract(graph, change):
    assert not kept(OWN_TABLES | {"allowed": change(OWN_TABLES["allowed"])}, graph)
