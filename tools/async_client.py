"""Writes `client/thumbwheel/async_client` from `client/thumbwheel/client`: `--check` compares instead.

The synchronous client is the source. Its asynchronous twin differs in the words `async` and `await` and in some names;
where they belong follows from the calls: a function that waits for the network, or calls one that does, is a coroutine.
Edits are made at the places of the syntax tree, so that comments stay. mypy then finds any `await` that is missing or
too many, because a coroutine is no result.
"""

import ast
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "client" / "thumbwheel" / "client"
TARGET = ROOT / "client" / "thumbwheel" / "async_client"
#: Files that wait for nothing, so that both clients use them.
SHARED = frozenset({"batches.py", "retry_rules.py", "partial_file.py"})

#: The class of the object that an expression of the client stands for.
RECEIVERS = {
    "self._http": "Http", "http": "Http", "self.retries": "Retries", "http.retries": "Retries",
    "self._http.retries": "Retries", "stream": "RunStream",
}  # fmt: skip
#: Methods of others that wait, with their asynchronous names.
WAITING = {
    "self._connections": {"send": "send", "close": "aclose"},
    "response": {"read": "aread", "close": "aclose"},
    "self.response": {"close": "aclose"},
    "http.retries": {"sleep": "sleep"},
    "self._http.retries": {"sleep": "sleep"},
}
#: Functions of others that wait.
WAITING_FUNCTIONS = {"retrying": "retrying", "next": "anext"}
#: Methods of others that are iterated over, with their asynchronous names.
ITERATED = {"iter_bytes": "aiter_bytes", "iter_lines": "aiter_lines", "iter_sse": "aiter_sse"}
#: Attributes that hold what such methods return.
ITERATED_ATTRIBUTES = frozenset({"self.rest"})
RENAMED_METHODS = {"__enter__": "__aenter__", "__exit__": "__aexit__"}
#: Texts that differ besides.
TEXTS = {
    "httpx.Client": "httpx.AsyncClient",
    "Retrying": "AsyncRetrying",
    "time.sleep": "asyncio.sleep",
    "Callable[[float], None]": "Callable[[float], Awaitable[None]]",
    "Callable[[], Result]": "Callable[[], Awaitable[Result]]",
    "from thumbwheel import Client": "from thumbwheel import AsyncClient",
    "with Client(": "async with AsyncClient(",
    "    client.feedback(": "    await client.feedback(",
    "run = client.": "run = await client.",
    "def _pieces(file: Path, progress: Callable[[int], None]) -> Iterator[bytes]": "async def _pieces("
    "file: Path, progress: Callable[[int], None]) -> AsyncIterator[bytes]",
    "may be called from several threads": "may be called from several tasks of one event loop",
    "The HTTP client:": "The HTTP client for asyncio:",
}

Function = tuple[str | None, str]


@dataclass
class Kinds:
    """The functions of the client by what their twins are."""

    defined: set[Function] = field(default_factory=set)
    attributes: dict[str, str] = field(default_factory=dict)
    coroutines: set[Function] = field(default_factory=set)
    generators: set[Function] = field(default_factory=set)
    iterators: set[Function] = field(default_factory=set)

    @property
    def size(self) -> int:
        return len(self.coroutines) + len(self.generators) + len(self.iterators)


@dataclass(frozen=True)
class Edit:
    """A text in place of the characters from one place of a file to another."""

    start: tuple[int, int]
    end: tuple[int, int]
    text: str


def twins(sources: Mapping[str, str]) -> dict[str, str]:
    """Returns the asynchronous files, by name."""
    trees = {name: ast.parse(source) for name, source in sources.items()}
    classes = {node.name for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    kinds = Kinds()
    for tree in trees.values():
        for owner, function in _functions(tree):
            kinds.defined.add((owner, function.name))
        for node in ast.walk(tree):
            match node:
                case ast.Assign(targets=[ast.Attribute() as attribute], value=ast.Call(func=ast.Name(id=name))):
                    if name in classes:
                        kinds.attributes[ast.unparse(attribute)] = name
    before = -1
    while kinds.size > before:
        before = kinds.size
        for tree in trees.values():
            for owner, function in _functions(tree):
                _classify(owner, function, kinds)
    modules = {name.removesuffix(".py") for name in sources} - {"__init__"}
    return {name: _twin(name, sources[name], trees[name], kinds, classes, modules) for name in sources}


def _functions(tree: ast.AST, owner: str | None = None) -> Iterator[tuple[str | None, ast.FunctionDef]]:
    """Yields the functions of a file with their classes; a function inside another one has none."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from _functions(node, node.name)
        elif isinstance(node, ast.FunctionDef):
            yield owner, node
            yield from _functions(node)
        else:
            yield from _functions(node, owner)


def _own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """Yields what belongs to a function itself and not to one inside it."""
    for node in ast.iter_child_nodes(function):
        yield node
        if not isinstance(node, ast.FunctionDef | ast.Lambda):
            yield from _own_nodes(node)


def _classify(owner: str | None, function: ast.FunctionDef, kinds: Kinds) -> None:
    nodes = list(_own_nodes(function))
    waits = any(isinstance(node, ast.Call) and _waits(node, owner, kinds) for node in nodes)
    iterates = any(isinstance(node, ast.For) and _iterated(node.iter, owner, kinds) for node in nodes)
    key = (owner, function.name)
    if any(isinstance(node, ast.Yield) for node in nodes):
        if waits or iterates:
            kinds.generators.add(key)
    elif waits or iterates or function.name in RENAMED_METHODS:
        kinds.coroutines.add(key)
    elif any(isinstance(node, ast.Return) and node.value and _iterated(node.value, owner, kinds) for node in nodes):
        kinds.iterators.add(key)


def _called(call: ast.Call, owner: str | None, kinds: Kinds) -> Function | None:
    """Returns the function of the client that is called."""
    match call.func:
        case ast.Name(id=name):
            return (None, name)
        case ast.Attribute(value=value, attr=name):
            receiver = ast.unparse(value)
            known = owner if receiver == "self" else RECEIVERS.get(receiver) or kinds.attributes.get(receiver)
            return (known, name) if known else None
    return None


def _waits(call: ast.Call, owner: str | None, kinds: Kinds) -> bool:
    if _called(call, owner, kinds) in kinds.coroutines:
        return True
    match call.func:
        case ast.Name(id=name):
            return name in WAITING_FUNCTIONS
        case ast.Attribute(value=value, attr=name):
            return name in WAITING.get(ast.unparse(value), {})
    return False


def _iterated(value: ast.expr, owner: str | None, kinds: Kinds) -> bool:
    if isinstance(value, ast.Call):
        if isinstance(value.func, ast.Attribute) and value.func.attr in ITERATED:
            return True
        return _called(value, owner, kinds) in kinds.generators | kinds.iterators
    return isinstance(value, ast.Attribute) and ast.unparse(value) in ITERATED_ATTRIBUTES


def _twin(name: str, source: str, tree: ast.Module, kinds: Kinds, classes: set[str], modules: set[str]) -> str:
    edits = [edit for owner, function in _functions(tree) for edit in _function_edits(owner, function, kinds)]
    edits += [edit for node in ast.walk(tree) for edit in _name_edits(node, classes)]
    text = _edited(source, edits)
    for before, after in TEXTS.items():
        text = re.sub(rf"(?<![\w.]){re.escape(before)}", after, text)
    for module in modules:
        text = re.sub(rf"\bthumbwheel\.client\.{module}\b", f"thumbwheel.async_client.{module}", text)
    for cls in classes:
        text = text.replace(f"`{cls}`", f"`Async{cls}`")
    head = (
        f"# Written by tools/async_client.py from ../client/{name}: change that file, then run `make async-client`.\n"
    )
    return head + _with_imports(text)


def _function_edits(owner: str | None, function: ast.FunctionDef, kinds: Kinds) -> Iterator[Edit]:
    key = (owner, function.name)
    if key in kinds.coroutines | kinds.generators:
        yield Edit(_start(function), _start(function), "async ")
    if key in kinds.generators | kinds.iterators and function.returns is not None:
        yield Edit(_start(function.returns), _start(function.returns), "Async")
    parents = {child: node for node in ast.walk(function) for child in ast.iter_child_nodes(node)}
    for node in _own_nodes(function):
        if isinstance(node, ast.For) and _iterated(node.iter, owner, kinds):
            yield Edit(_start(node), _start(node), "async ")
        if isinstance(node, ast.Call):
            yield from _call_edits(node, parents[node], owner, kinds)


def _call_edits(call: ast.Call, parent: ast.AST, owner: str | None, kinds: Kinds) -> Iterator[Edit]:
    name, renamed = "", ""
    match call.func:
        case ast.Name(id=name):
            renamed = WAITING_FUNCTIONS.get(name, name)
        case ast.Attribute(value=value, attr=name):
            renamed = ITERATED.get(name) or WAITING.get(ast.unparse(value), {}).get(name, name)
    if renamed != name:
        line, column = _end(call.func)
        yield Edit((line, column - len(name)), (line, column), renamed)
    if _waits(call, owner, kinds):
        inside = isinstance(parent, ast.Attribute | ast.Subscript)
        yield Edit(_start(call), _start(call), "(await " if inside else "await ")
        if inside:
            yield Edit(_end(call), _end(call), ")")


def _name_edits(node: ast.AST, classes: set[str]) -> Iterator[Edit]:
    """Yields the edits that rename classes, and the methods and fields that have other names or types."""
    match node:
        case ast.Name(id=name) | ast.Constant(value=str(name)) if name in classes:
            quote = int(isinstance(node, ast.Constant))
            line, column = _start(node)
            yield Edit((line, column + quote), (line, column + quote), "Async")
        case ast.ClassDef(name=name, body=body):
            column = node.col_offset + len("class ")
            yield Edit((node.lineno, column), (node.lineno, column), "Async")
            for member in body:
                if isinstance(member, ast.AnnAssign) and f"self.{ast.unparse(member.target)}" in ITERATED_ATTRIBUTES:
                    yield Edit(_start(member.annotation), _start(member.annotation), "Async")
        case ast.FunctionDef(name=name) if name in RENAMED_METHODS:
            column = node.col_offset + len("def ")
            yield Edit((node.lineno, column), (node.lineno, column + len(name)), RENAMED_METHODS[name])
        case ast.alias(name=name) if name in classes:
            yield Edit(_start(node), _start(node), "Async")


def _edited(source: str, edits: list[Edit]) -> str:
    """Applies the edits. The columns of a syntax tree count bytes."""
    lines = [line.encode() for line in source.splitlines(keepends=True)]
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        (line, start), (_, end) = edit.start, edit.end
        text = lines[line - 1]
        lines[line - 1] = text[:start] + edit.text.encode() + text[end:]
    return b"".join(lines).decode()


def _with_imports(text: str) -> str:
    names = [name for name in ("AsyncIterator", "Awaitable") if re.search(rf"\b{name}\b", text)]
    lines = [f"from collections.abc import {', '.join(names)}"] if names else []
    lines += ["import asyncio"] if re.search(r"\basyncio\.", text) else []
    docstring = ast.parse(text).body[0]
    assert docstring.end_lineno is not None
    whole = text.split("\n")
    return "\n".join(whole[: docstring.end_lineno] + lines + whole[docstring.end_lineno :])


def _start(node: ast.expr | ast.stmt | ast.alias) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _end(node: ast.expr) -> tuple[int, int]:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return node.end_lineno, node.end_col_offset


def written(parent: Path) -> dict[str, str]:
    """Returns the files as they should be, in the style of the repository, which ruff makes in a folder of `parent`."""
    sources = {path.name: path.read_text() for path in sorted(SOURCE.glob("*.py")) if path.name not in SHARED}
    folder = parent / TARGET.relative_to(ROOT)
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()  # so that ruff knows the package as ours
    for name, text in twins(sources).items():
        (folder / name).write_text(text)
    style = ["--config", str(ROOT / "pyproject.toml"), "--quiet", str(folder)]
    ruff = [sys.executable, "-m", "ruff"]
    subprocess.run([*ruff, "check", "--select", "F401,I", "--fix", *style], check=True)
    subprocess.run([*ruff, "format", *style], check=True)
    return {name: (folder / name).read_text() for name in sources}


def main(arguments: list[str]) -> int:
    """Writes the files; with `--check` returns 1 if they are not as they should be."""
    with tempfile.TemporaryDirectory() as folder:
        files = written(Path(folder))
    present = {path.name: path.read_text() for path in TARGET.glob("*.py")}
    if "--check" in arguments:
        stale = sorted(name for name in files.keys() | present.keys() if files.get(name) != present.get(name))
        if stale:
            sys.stderr.write(f"{TARGET.relative_to(ROOT)}: {', '.join(stale)}: run `make async-client`\n")
        return int(bool(stale))
    TARGET.mkdir(exist_ok=True)
    for name in present.keys() - files.keys():
        (TARGET / name).unlink()
    for name, text in files.items():
        (TARGET / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
