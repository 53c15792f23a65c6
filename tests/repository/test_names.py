"""A class name stands for one thing in the whole repository, and no import gets a meaningless alias."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ("app", "worker", "client/thumbwheel")
ALL = (*CODE, "tests", "tools", "benchmarks", "migrations")

#: Classes with the same name in different kinds of files are forms of the same thing.
KINDS = {
    r"client/thumbwheel/wire/\w+\.py": "document",
    r"client/thumbwheel/client/\w+\.py": "area of the client",
    r"app/(\w+/)*tables\.py": "row",
    r"app/feedback/ingest/msgspec_reader\.py": "quickly parsed document",
}

#: Pronouns, prepositions and participles, which could name anything.
BARE = frozenset(
    {"asked", "found", "given", "it", "made", "many", "of", "one", "other", "others", "said", "seen", "that", "told"}
)

CLASS = re.compile(r"^\s*class (\w+)", re.MULTILINE)
#: A line of an import, or of prose that reads like one.
ALIAS = re.compile(rf"^\s*(?:(?:from|import) .*|(?:[\w ]+, )*\w+) as (?:{'|'.join(sorted(BARE))})\b", re.MULTILINE)


def sources(folders: tuple[str, ...]) -> dict[str, str]:
    """Returns the Python files in these folders: path → text."""
    paths = (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in paths}


def repeated(code: Mapping[str, str]) -> dict[str, list[str]]:
    """Returns each class name that stands for several things, with its files. Only files that may repeat a name are
    parsed."""
    candidates = defaultdict(list)
    for path, text in code.items():
        for name in CLASS.findall(text):
            candidates[name].append(path)
    several = {path for paths in candidates.values() if len(paths) > 1 for path in paths}
    files = defaultdict(list)
    for path in sorted(several):
        for node in ast.walk(ast.parse(code[path])):
            if isinstance(node, ast.ClassDef):
                files[node.name].append(path)
    return {name: paths for name, paths in sorted(files.items()) if len(paths) > 1 and not _forms_of_one_thing(paths)}


def _forms_of_one_thing(paths: list[str]) -> bool:
    kinds = [kind for path in paths for pattern, kind in KINDS.items() if re.fullmatch(pattern, path)]
    return len(kinds) == len(set(kinds)) == len(paths)


def bare_aliases(code: Mapping[str, str]) -> Iterator[str]:
    """Yields the imports that are renamed to a bare word, as `path: word`."""
    for path, text in code.items():
        if not ALIAS.search(text):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield from (f"{path}: {name.asname}" for name in node.names if name.asname in BARE)


def test_every_class_name_stands_for_one_thing():
    assert repeated(sources(CODE)) == {}


def test_no_import_is_renamed_to_a_bare_word():
    assert list(bare_aliases(sources(ALL))) == []


@pytest.mark.parametrize(
    "files",
    [
        ["app/labels/read.py", "worker/read.py"],
        ["app/runs/tables.py", "app/loop/tables.py"],
        ["client/thumbwheel/wire/runs.py", "client/thumbwheel/wire/recipe.py"],
        ["client/thumbwheel/wire/runs.py", "app/runs/tables.py", "app/runs/service.py"],
    ],
)
def test_a_class_name_of_two_things_is_found(files):
    assert repeated(dict.fromkeys(files, "class Run:\n    pass\n")) == {"Run": sorted(files)}


def test_two_classes_of_one_name_in_one_file_are_found():
    assert repeated({"app/a.py": "class Run:\n    class Run:\n        pass\n"}) == {"Run": ["app/a.py", "app/a.py"]}


def test_a_document_may_share_its_name_with_its_row_and_its_quick_form():
    files = ["client/thumbwheel/wire/feedback.py", "app/feedback/tables.py", "app/feedback/ingest/msgspec_reader.py"]

    assert repeated(dict.fromkeys(files, "class Event:\n    pass\n")) == {}


def test_a_class_in_prose_is_none():
    assert repeated({"app/a.py": '"""\nclass Run\n"""\n', "app/b.py": "class Run:\n    pass\n"}) == {}


@pytest.mark.parametrize(
    "line",
    [
        "import app.labels.policy as one",
        "from app.labels import policy as said",
        "from app.labels import policy, edits as said  # why",
        "from app.labels import (\n        edits,\n        policy as said,\n    )",
    ],
)
def test_an_import_that_is_renamed_to_a_bare_word_is_found(line):
    assert len(list(bare_aliases({"app/a.py": f"def f():\n    {line}\n"}))) == 1


def test_prose_and_other_aliases_pass():
    assert not list(bare_aliases({"app/a.py": '"""Told as one."""\nimport numpy as np\n'}))
