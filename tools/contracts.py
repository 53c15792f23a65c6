"""Import contracts of our own for import-linter, whose configuration in pyproject.toml names this module."""

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, output


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
