"""Loads YAML and JSON within limits on its size, its nesting and its number of values.

A few lines of YAML can stand for billions of values, since an alias repeats all values of its anchor. The values are
counted on the parser's events, before any of them is built.
"""

import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

MOST_BYTES = 4 * 2**20
MOST_VALUES = 200_000
MOST_LEVELS = 50

TEXT, BOOL, DAY, INT, FLOAT = (f"tag:yaml.org,2002:{name}" for name in ("str", "bool", "timestamp", "int", "float"))

#: libyaml reads a document ten times as fast as Python does.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def decoded(content: bytes) -> str:
    """Returns the text of a file, of which `MOST_BYTES` + 1 bytes are enough. Raises `ValueError` with the reason."""
    if len(content) > MOST_BYTES:
        raise ValueError(f"is larger than {MOST_BYTES // 2**20} MiB: split it into several files")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("cannot be read: it is not UTF-8 text") from error


def read_text(path: Path) -> str:
    """Returns the text of a file. Raises `ValueError` with the reason if it cannot be read."""
    try:
        with path.open("rb") as file:
            return decoded(file.read(MOST_BYTES + 1))
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error


def load(text: str, *, json_only: bool = False) -> Any:
    """Returns the document in a text: JSON if it is that, else YAML.

    Raises `ValueError` with the rule that the text breaks, as the end of a sentence about it.
    """
    try:
        document = json.loads(text)
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    except ValueError as error:
        if json_only:
            raise ValueError(f"is not JSON: {error}") from error
    else:
        return _within_limits(document)
    try:
        _check_events(text)
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        last = text.count("\n") + (not text.endswith("\n"))
        where = f"line {min(error.problem_mark.line + 1, max(last, 1))}: " if error.problem_mark else ""
        raise ValueError(f"is not YAML: {where}{error.problem}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"is not YAML: {' '.join(str(error).split())}") from error


_TOO_DEEP = f"is nested more deeply than {MOST_LEVELS} levels"
_TOO_MANY = f"holds more than {MOST_VALUES:,} values, counting those that aliases repeat"


def dump(document: Any) -> str:
    """Returns a document as YAML that this module, and a reader of YAML 1.1, read as the same document."""
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))


def _within_limits(document: Any) -> Any:
    """Returns a decoded JSON document. Raises `ValueError` if it exceeds a limit."""
    level, values = [document], 0
    for _ in range(MOST_LEVELS + 1):
        values += len(level)
        if values > MOST_VALUES:
            raise ValueError(_TOO_MANY)
        level = [
            item
            for value in level
            if isinstance(value, list | dict)
            for item in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return document
    raise ValueError(_TOO_DEEP)


def _check_events(text: str) -> None:
    """Raises `ValueError` if the document, with its aliases replaced, exceeds a limit."""
    anchors: dict[str, tuple[int, int]] = {}  # the number of values and of levels below each anchor
    #: The anchor of each open collection, its number of values so far, and the levels below it.
    opened: list[list[Any]] = []

    def add(values: int, levels: int) -> None:
        if len(opened) + levels > MOST_LEVELS:
            raise ValueError(_TOO_DEEP)
        if values > MOST_VALUES:
            raise ValueError(_TOO_MANY)
        if opened:
            opened[-1][1] += values
            opened[-1][2] = max(opened[-1][2], levels)
            if opened[-1][1] > MOST_VALUES:
                raise ValueError(_TOO_MANY)

    for event in yaml.parse(text, _Base):
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append([event.anchor, 1, 0])
            if len(opened) > MOST_LEVELS:
                raise ValueError(_TOO_DEEP)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, values, levels = opened.pop()
            if anchor:
                anchors[anchor] = (values, levels + 1)
            add(values, levels + 1)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in anchors:
                add(*anchors[event.anchor])
            elif any(collection[0] == event.anchor for collection in opened):
                raise ValueError(f"has an alias within its own anchor: *{event.anchor}")
        elif isinstance(event, yaml.ScalarEvent):
            if event.anchor:
                anchors[event.anchor] = (1, 0)
            add(1, 0)


class _Loader(_Base):
    """Loads YAML with only ``true`` and ``false`` as booleans, decimal numbers, and all keys as text, as in YAML 1.2.

    In YAML 1.1 an outcome's ``true:`` is not text, ``yes:`` is the same key, an outcome called ``no`` is ``false``, and
    ``12:30`` and ``010`` are the numbers 750 and 8.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ConstructorError(None, None, "a key is not text", key.start_mark)
            if key.value in seen:
                raise ConstructorError(None, None, f"{key.value} is there twice: keep one of them", key.start_mark)
            seen.add(key.value)
        self.flatten_mapping(node)  # it merges further keys for `<<`
        for key, _ in node.value:
            if key.tag == BOOL:
                key.value = key.value.lower()
            key.tag = TEXT
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping

    def construct_integer(self, node: yaml.ScalarNode) -> int | str:
        """Returns a whole number; one of many digits, which Python refuses to convert, stays text."""
        return int(node.value) if len(node.value) <= 40 else node.value


class _Dumper(yaml.SafeDumper):
    """Writes YAML; texts that either version of YAML reads as a number are quoted.

    Line separators of Unicode, which single quotes and blocks lose, are escaped.
    """

    def represent_text(self, text: str) -> yaml.ScalarNode:
        style = '"' if any(separator in text for separator in "\x85\u2028\u2029") else None
        return self.represent_scalar(TEXT, text, style)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (BOOL, DAY, INT, FLOAT)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(BOOL, re.compile("(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
for _resolving in (_Loader, _Dumper):
    _resolving.add_implicit_resolver(INT, re.compile("[-+]?[0-9]+$"), list("-+0123456789"))
    _resolving.add_implicit_resolver(
        FLOAT,
        re.compile(
            r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"
        ),
        list("-+.0123456789"),
    )
_Loader.add_constructor(INT, _Loader.construct_integer)
_Dumper.add_representer(str, _Dumper.represent_text)
