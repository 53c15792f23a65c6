"""The bodies of requests: the payload itself, or a message for Slack. Pure."""

import json
from collections.abc import Callable, Mapping
from typing import Any

MOST_CHARACTERS = 2500  # Slack takes 3,000 in a section
MOST_REASONS = 5


def standard(payload: Mapping[str, Any]) -> dict[str, Any]:
    return dict(payload)


def slack(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a message for an incoming webhook of Slack: a title, the reasons, and the link."""
    data = payload["data"]
    title = f"{data['project']}: {payload['type']}"
    text = "\n".join([f"*{_escaped(title)}*", *(_escaped(line) for line in _lines(data))])
    context = f"<{_escaped(data['url'])}|{_escaped(_subject(data))}> · {_escaped(payload['timestamp'])}"
    return {
        "text": _escaped(title),
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": _cut(text)}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": context}]},
        ],
    }


FORMATS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {"standard": standard, "slack": slack}


def body(payload: Mapping[str, Any], form: str) -> bytes:
    """Returns the body in this format, as JSON without spaces."""
    document = FORMATS[form](payload)
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _lines(data: Mapping[str, Any]) -> list[str]:
    lines = [str(data["reason"])] if data.get("reason") else []
    if data.get("decision"):
        lines.append(str(data["decision"]["reason"]))
    if data.get("override_reason"):
        lines.append(f"override: {data['override_reason']}")
    lines += [f"• {reason}" for reason in data.get("reasons", ())[:MOST_REASONS]]
    if "new_actors" in data:
        lines.append(f"actors found: {data['new_actors']} ({', '.join(data['rules'])})")
    return lines


def _subject(data: Mapping[str, Any]) -> str:
    """Returns the words of the link: what the event is about, with its id."""
    names = {"run_id": "run", "checkpoint_id": "checkpoint", "erasure_id": "erasure", "endpoint_id": "endpoint"}
    return next((f"{noun} {data[name]}" for name, noun in names.items() if data.get(name)), "details")


def _escaped(text: str) -> str:
    """Escapes the three characters that Slack gives a meaning."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"
