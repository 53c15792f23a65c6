"""Checks the first words of docstrings: `python tools/docstrings.py [FOLDER…]` lists those that need another beginning.

A function's docstring begins with a verb in the third person ("Returns …") or a noun with its article ("The …"), and so
makes sense without the name above it. Modules and classes may have nouns alone. Commands of the command line are not
checked, whether a decorator or a call in `app/cli/main.py` registers them: their docstrings are help texts.
"""

import ast
import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

FOLDERS = ("app", "worker", "client", "tools", "benchmarks", "tests", "migrations/env.py")
REGISTRY = Path("app/cli/main.py")
#: First words of a sentence without a verb or a subject.
FRAGMENT = re.compile(
    r"(Of|Those|What|Which|The same|As|In|With|Without|Where|How|Who|Whose|Why|When|From|To|For|By|At|On|And|That|It)\b"
)
THIRD_PERSON_OR_ARTICLE = re.compile(r"(A|An|The|[A-Z][a-z]+(-[a-z]+)?s)\b")
#: First words that end in s but are not verbs.
NO_VERBS = re.compile(
    r"(Its|This|Thus|Less|Always|Perhaps|Others|Rows|Events|Labels|Values|Files|Names|Ours|Theirs|Does)\b"
)
#: Words that are not plain English, wherever they stand.
ODD = re.compile(r"\b(anew|whoever|in vain|so many|by way of)\b", re.IGNORECASE)


def faults_in(source: str, commands: Collection[str] = ()) -> Iterator[tuple[int, str]]:
    """Yields line number and first line of each docstring that begins differently or has an odd word.

    commands  names of the functions in `source` that another file registers as commands
    """
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        docstring = ast.get_docstring(node)
        if docstring is None:
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name in commands or any(map(_is_command, node.decorator_list)):
                continue
            wrong = not THIRD_PERSON_OR_ARTICLE.match(docstring) or NO_VERBS.match(docstring)
        else:
            wrong = FRAGMENT.match(docstring)
        if wrong or ODD.search(docstring):
            yield node.body[0].lineno, docstring.partition("\n")[0]


def registered_in(source: str) -> set[tuple[str, str]]:
    """Returns module and name of each imported function that ``app.command(…)(function)`` makes a command."""
    nodes = list(ast.walk(ast.parse(source)))
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    modules = {alias.name: node.module or "" for node in imports for alias in node.names}
    calls = [node for node in nodes if isinstance(node, ast.Call) and _is_command(node.func)]
    names = {argument.id for call in calls for argument in call.args if isinstance(argument, ast.Name)}
    return {(modules[name], name) for name in names & modules.keys()}


def _module_of(file: Path) -> str:
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")


def _is_command(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(called, ast.Attribute) and called.attr in {"command", "callback"}


def main(arguments: list[str]) -> int:
    """Prints a line for each fault; returns the exit code."""
    count = 0
    registered = registered_in(REGISTRY.read_text())
    for folder in arguments or FOLDERS:
        path = Path(folder)
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            commands = {name for module, name in registered if module == _module_of(file)}
            for line, begins in faults_in(file.read_text(), commands):
                sys.stdout.write(f"{file}:{line}: {begins}\n")
                count += 1
    if count:
        sys.stderr.write(f"{count} docstrings: begin with a verb in the third person or a noun with its article\n")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
