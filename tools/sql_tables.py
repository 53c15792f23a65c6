"""The tables that a Python file names: in its SQL, by `table("…")`, and by the classes that it imports.

SQL is recognised in strings by its keywords in capitals. A name that a string takes from a variable is not seen.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache

_ITEM = r"[a-z_][a-z0-9_]*(?:\s+(?:AS\s+)?[a-z_][a-z0-9_]*)?"
_CLAUSE = re.compile(rf"\b(?:FROM|JOIN|INTO|UPDATE|USING|TABLE)\s+(?:ONLY\s+)?({_ITEM}(?:\s*,\s*{_ITEM})*)")


@cache
def named_in(source: str) -> frozenset[tuple[str, int]]:
    """Returns each name at the place of a table in SQL, with its line."""
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "table":
            names |= {(name, node.lineno) for argument in node.args[:1] for name in _texts(argument)}
        elif isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in prose:
            names |= {(name, node.lineno) for text in _texts(node) for name in _tables_of(text)}
    return frozenset(names)


@cache
def imported_by(source: str) -> frozenset[tuple[str, str, int]]:
    """Returns module, name and line of each import by `from … import …`."""
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    return frozenset((node.module or "", alias.name, node.lineno) for node in imports for alias in node.names)


@cache
def declared_in(source: str) -> frozenset[tuple[str, str]]:
    """Returns class and table of each class that maps a table."""
    return frozenset(
        (node.name, line.value.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
        for line in node.body
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "__tablename__"
        if isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)
    )


def _texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join("".join(_texts(part)) or "{}" for part in node.values)


def _tables_of(text: str) -> Iterator[str]:
    for clause in _CLAUSE.finditer(text):
        for item in clause[1].split(","):
            yield item.split()[0]
