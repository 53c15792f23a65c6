"""Our own import contracts for import-linter. Its configuration in pyproject.toml names this module."""

from collections.abc import Iterator
from pathlib import Path

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output

from tools import sql_tables

ROOT = Path(__file__).parents[1]


class OwnStore(Contract):
    """A module ``….store`` may be imported only by the service in its folder, the single access to its rows."""

    type_name = "own_store"

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        del verbose
        violations = [
            (importer, module, detail["line_number"])
            for module in sorted(graph.modules)
            if module.endswith(".store")
            for importer in sorted(graph.find_modules_that_directly_import(module))
            if importer != module.removesuffix("store") + "service"
            for detail in graph.get_import_details(importer=importer, imported=module)
        ]
        return ContractCheck(kept=not violations, metadata={"violations": violations})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for importer, module, line in check.metadata["violations"]:
            output.print_error(f"{importer} imports {module} (l.{line}): import the service in its folder instead.")


class OwnTables(Contract):
    """A table is named by the room that declares it, `app.<room>`, and by the packages that `allowed` names with it."""

    type_name = "own_tables"
    allowed = fields.SetField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        del verbose
        sources = {module: source_of(module) for module in sorted(graph.modules) if _is_ours(module)}
        classes = {
            (module, name): table
            for module, source in sources.items()
            for name, table in sql_tables.names_in(source).declared
        }
        homes = {table: _room(module) for (module, _), table in classes.items()}
        strangers, needed = [], set()
        for module, source in sources.items():
            for table, line in _references(source, classes):
                if homes.get(table, _room(module)) == _room(module):
                    continue
                permission = f"{_package(module)} -> {table}"
                needed.add(permission)
                if permission not in self.allowed:
                    strangers.append((module, table, homes[table], line))
        unneeded = sorted(self.allowed - needed)
        metadata = {"strangers": sorted(strangers), "unneeded": unneeded}
        return ContractCheck(kept=not strangers and not unneeded, metadata=metadata)

    def render_broken_contract(self, check: ContractCheck) -> None:
        for module, table, home, line in check.metadata["strangers"]:
            output.print_error(f"{module} names {table} (l.{line}), a table of {home}: call a service there instead.")
        for permission in check.metadata["unneeded"]:
            output.print_error(f"{permission} is allowed but not needed: remove it.")


def source_of(module: str) -> str:
    """Returns the source of a module of this repository, or an empty text if it has no file."""
    path = ROOT / module.replace(".", "/")
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file.read_text(encoding="utf-8") for file in files if file.is_file()), "")


def _references(source: str, classes: dict[tuple[str, str], str]) -> Iterator[tuple[str, int]]:
    names = sql_tables.names_in(source)
    yield from names.tables
    for module, name, line in names.imports:
        if (module, name) in classes:
            yield classes[module, name], line


def _is_ours(module: str) -> bool:
    return module.split(".")[0] in {"app", "worker"}


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def _package(module: str) -> str:
    """Returns the room or sub-room of a module; a module of no room stands for itself."""
    return module if module.count(".") == 1 else module.rpartition(".")[0]
