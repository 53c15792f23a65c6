"""Checks the fields of an item before they become JSON, and adds those of the context."""

from collections.abc import Iterator, Mapping
from typing import Any

from thumbwheel.context import current_context, trace_ids


def require_sendable(name: str, fields: Mapping[str, Any]) -> None:
    """Raises if the id `name` fits into no URL, or if reading a text would take it away from the product."""
    name.encode()
    for field in ("prompt", "completion"):
        if isinstance(fields.get(field), Iterator):
            raise TypeError(f"{field}: an iterator can be read only once. Pass a text, a message or a list.")


def add_context(fields: dict[str, Any]) -> None:
    """Adds conversation, metadata and trace of the context, unless they are given."""
    context = current_context()
    if context.conversation_id is not None:
        fields.setdefault("conversation_id", context.conversation_id)
    trace = trace_ids()
    if trace or context.metadata:
        fields["metadata"] = {**context.metadata, **trace, **(fields.get("metadata") or {})}
