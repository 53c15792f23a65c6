"""Converts JSON lines of OpenAI evals, `input` with `ideal`, into a suite. Pure.

Lines with the same roles share a prompt: the texts of their messages are the variables message_1, message_2, and so on.
"""

import json
from collections.abc import Sequence
from typing import Any

from app.suites.importing.conversion import Conversion, Draft


def convert(text: str, name: str, *, contains: bool) -> Conversion:
    """Returns the suite of the lines: the output equals, or contains, one of the ideal answers."""
    draft = Draft(name)
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            draft.lose(place, "is not JSON; it is left out")
            continue
        reason = _add(draft, place, row, contains=contains)
        if reason is not None:
            draft.lose(place, f"{reason}; it is left out")
    return draft.finished()


def _add(draft: Draft, place: str, row: Any, *, contains: bool) -> str | None:
    """Adds a line to the draft, or returns the reason why it cannot."""
    if not isinstance(row, dict) or "input" not in row or "ideal" not in row:
        return "has no input with ideal"
    messages = [{"role": "user", "content": row["input"]}] if isinstance(row["input"], str) else row["input"]
    if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
        return "has an input that is neither a text nor a list of messages with role and content"
    ideals = row["ideal"] if isinstance(row["ideal"], list) else [row["ideal"]]
    if not ideals or not all(isinstance(ideal, str) and ideal for ideal in ideals):
        return "has an ideal that is neither a text nor a list of texts"
    for other in sorted(row.keys() - {"input", "ideal", "metadata"}):
        draft.lose(place, f"{other} has no counterpart; the rest of the line is converted")
    label = _prompt(draft, messages)
    variables = {f"message_{number}": message["content"] for number, message in enumerate(messages, start=1)}
    variables |= {f"ideal_{number}": ideal for number, ideal in enumerate(ideals, start=1)}
    test = {"vars": variables, "prompts": [label], "assert": [_assertion(len(ideals), contains=contains)]}
    draft.add_test(place, test, [place])
    return None


def _is_message(message: Any) -> bool:
    return (
        isinstance(message, dict)
        and isinstance(message.get("role"), str)
        and isinstance(message.get("content"), str)
        and message.keys() <= {"role", "content", "name"}
    )


def _prompt(draft: Draft, messages: Sequence[dict[str, str]]) -> str:
    """Returns the label of the prompt with the roles of these messages, which it adds if it is the first."""
    chat = [
        {**{key: message[key] for key in ("role", "name") if key in message}, "content": f"{{{{message_{number}}}}}"}
        for number, message in enumerate(messages, start=1)
    ]
    for prompt in draft.prompts:
        if prompt["prompt"] == chat:
            return str(prompt["label"])
    label = str(len(draft.prompts) + 1)
    draft.prompts.append({"label": label, "prompt": chat})
    return label


def _assertion(ideals: int, *, contains: bool) -> dict[str, Any]:
    values = [f"{{{{ideal_{number}}}}}" for number in range(1, ideals + 1)]
    if contains:
        return {"type": "contains-any", "value": values}
    equal: list[dict[str, Any]] = [{"type": "equals", "value": value} for value in values]
    return equal[0] if ideals == 1 else {"type": "assert-set", "threshold": 1 / ideals, "assert": equal}
