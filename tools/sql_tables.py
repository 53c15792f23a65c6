"""The tables that a Python file names: in its SQL, by `table("…")`, and by the classes that it imports.

SQL is recognised in strings by its keywords in capitals. A name that a string takes from a variable is not seen.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

_ITEM = r"[a-z_][a-z0-9_]*(?:\s+(?:AS\s+)?[a-z_][a-z0-9_]*)?"
_CLAUSE = re.compile(rf"\b(?:FROM|JOIN|INTO|UPDATE|USING|TABLE)\s+(?:ONLY\s+)?({_ITEM}(?:\s*,\s*{_ITEM})*)")


@dataclass(frozen=True)
class Names:
    """The names in one source.

    tables    each name at the place of a table in SQL, with its line
    imports   module, name and line of each import by `from … import …`
    declared  class and table of each class that maps a table
    """

    tables: frozenset[tuple[str, int]]
    imports: frozenset[tuple[str, str, int]]
    declared: frozenset[tuple[str, str]]


@cache
def names_in(source: str) -> Names:
    nodes = list(ast.walk(ast.parse(source)))
    prose = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    tables: set[tuple[str, int]] = set()
    imports: set[tuple[str, str, int]] = set()
    declared: set[tuple[str, str]] = set()
    for node in nodes:
        if isinstance(node, ast.Call) and _last_name(node.func) == "table":
            tables |= {(name, node.lineno) for argument in node.args[:1] for name in _texts(argument)}
        elif isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in prose:
            tables |= {(name, node.lineno) for text in _texts(node) for name in _tables_of(text)}
        elif isinstance(node, ast.ImportFrom):
            imports |= {(node.module or "", alias.name, node.lineno) for alias in node.names}
        elif isinstance(node, ast.ClassDef):
            declared |= {(node.name, table) for table in _mapped_by(node)}
    return Names(frozenset(tables), frozenset(imports), frozenset(declared))


def _last_name(function: ast.expr) -> str | None:
    """Returns `c` for both `c` and `a.b.c`."""
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)


def _mapped_by(node: ast.ClassDef) -> Iterator[str]:
    for line in node.body:
        if isinstance(line, ast.Assign) and _last_name(line.targets[0]) == "__tablename__":
            yield from _texts(line.value)


def _texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join("".join(_texts(part)) or "{}" for part in node.values)


def _tables_of(text: str) -> Iterator[str]:
    for clause in _CLAUSE.finditer(text):
        for item in clause[1].split(","):
            yield item.split()[0]
