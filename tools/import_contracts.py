"""A contract for import-linter: private modules are imported within their own package only."""

from __future__ import annotations

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, output


class PrivateModulesContract(Contract):
    """No package imports a private module of another."""

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002 (its callers name it)
        """Find imports of private modules from outside of the package that they are in."""
        broken = [
            (importer, private, graph.get_import_details(importer=importer, imported=private)[0]["line_number"])
            for private in sorted(graph.modules)
            if (owner := _owner(private))
            for importer in sorted(graph.find_modules_that_directly_import(private))
            if importer != owner and not importer.startswith(f"{owner}.")
        ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print each import, with what to do about it."""
        for importer, private, line in check.metadata["broken"]:
            output.print_error(f"{importer} imports {private} (line {line}): import it from {_owner(private)}")


def _owner(module: str) -> str:
    """Package of the first private part of a dotted name; empty where there is none."""
    parts = module.split(".")
    private = next((place for place, part in enumerate(parts) if part.startswith("_")), 0)
    return ".".join(parts[:private])
