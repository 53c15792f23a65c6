"""The import contracts that import-linter does not bring: its configuration in pyproject.toml names this module."""

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, output


class OwnStore(Contract):
    """A module ``….store`` is imported by the service beside it alone: rows have one gate."""

    type_name = "own_store"

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        del verbose
        strangers = [
            (importer, module, detail["line_number"])
            for module in sorted(graph.modules)
            if module.endswith(".store")
            for importer in sorted(graph.find_modules_that_directly_import(module))
            if importer != module.removesuffix("store") + "service"
            for detail in graph.get_import_details(importer=importer, imported=module)
        ]
        return ContractCheck(kept=not strangers, metadata={"strangers": strangers})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for importer, module, line in check.metadata["strangers"]:
            output.print_error(f"{importer} imports {module} (l.{line}): ask the service beside it instead.")
