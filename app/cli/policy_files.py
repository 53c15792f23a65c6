"""Reads label policies from files in YAML or JSON."""

import json
import re
import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from app.errors import Invalid

TEXT, BOOL, DAY = (f"tag:yaml.org,2002:{name}" for name in ("str", "bool", "timestamp"))


def read_document(path: Path) -> Any:
    """Returns the document in a file, or in stdin for `-`. Raises `Invalid` if it cannot be read."""
    name = "stdin" if str(path) == "-" else str(path)
    try:
        text = sys.stdin.read() if name == "stdin" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise Invalid(f"{name} cannot be read: {reason}.", code="unreadable_file") from error
    try:
        return json.loads(text)
    except RecursionError as error:
        raise Invalid(f"{name} is nested too deeply.", code="unreadable_file") from error
    except ValueError as error:
        if path.suffix == ".json":
            raise Invalid(f"{name} is not JSON: {error}.", code="unreadable_file") from error
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader
    except RecursionError as error:
        raise Invalid(f"{name} is nested too deeply.", code="unreadable_file") from error
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise Invalid(f"{name} is not YAML: {where}{error.problem}.", code="unreadable_file") from error
    except yaml.YAMLError as error:
        raise Invalid(f"{name} is not YAML: {' '.join(str(error).split())}.", code="unreadable_file") from error


class _Loader(yaml.SafeLoader):
    """Loads YAML with only ``true`` and ``false`` as booleans, as in YAML 1.2, and with all keys as text.

    In YAML 1.1 an outcome's ``true:`` is not text, ``yes:`` is the same key, and an outcome called ``no`` is ``false``.
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
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (BOOL, DAY)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(BOOL, re.compile("(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
