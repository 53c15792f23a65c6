"""Converts the prompts of promptfoo: texts, chats written as JSON or YAML, and files of them. Pure."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from app.bounded_yaml import load
from app.suites.importing.promptfoo_assertions import ReadFile

_FILE = re.compile(r"[^\n]+\.(?:txt|md|j2|json|ya?ml|py|js|ts|mjs|cjs|csv|jsonl)(?::\w+)?$")
_SEPARATOR = re.compile(r"^---[ \t]*$", re.MULTILINE)


def prompts_in(prompts: Any, read_file: ReadFile, lose: Callable[[str, str], None]) -> list[dict[str, Any]]:
    """Returns the prompts with their labels."""
    items = prompts if isinstance(prompts, list) else [] if prompts is None else [prompts]
    converted: list[dict[str, Any]] = []
    for number, item in enumerate(items):
        place = f"/prompts/{number}"
        label: str | None = None
        if isinstance(item, dict):
            unknown = sorted(item.keys() - {"raw", "label", "id"})
            if unknown:
                lose(f"{place}/{unknown[0]}", "has no counterpart in a suite; the prompt is converted without it")
            label = item.get("label")
        text = (item.get("raw") or item.get("id")) if isinstance(item, dict) else item
        if not isinstance(text, str):
            lose(place, "is not a text; it is left out")
            continue
        try:
            bodies = list(_bodies(text, read_file))
        except ValueError as error:
            lose(place, f"{error}; it is left out")
            continue
        for index, body in enumerate(bodies):
            named = str(label or number + 1)
            converted.append({"label": named if len(bodies) == 1 else f"{named}-{index + 1}", "prompt": body})
    if not converted:
        lose("/prompts", "no prompt could be converted")
    return converted


def _bodies(text: str, read_file: ReadFile) -> Iterator[Any]:
    """Yields the prompts in a text, or in the file that it names. Raises `ValueError` with the reason."""
    if not text.startswith("file://") and not _FILE.match(text.strip()):
        yield _body(text)
        return
    content = read_file(text.strip())
    if not isinstance(content, str):
        yield _chat(content)
        return
    for part in _SEPARATOR.split(content):
        if part.strip():
            yield _body(part.strip())


def _body(text: str) -> Any:
    """Returns a chat if the text is one in JSON or YAML, else the text."""
    if not text.lstrip().startswith(("[", "- role:", "- content:")):
        return text
    try:
        content = load(text)
    except ValueError:
        return text
    return _chat(content) if isinstance(content, list) and all(isinstance(item, dict) for item in content) else text


def _chat(content: Any) -> Any:
    if not isinstance(content, list) or not all(
        isinstance(item, dict) and isinstance(item.get("content"), str) for item in content
    ):
        raise ValueError("is not a list of messages with role and content")
    return content
