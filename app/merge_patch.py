"""JSON merge patches, RFC 7396: what PATCH takes. Pure."""

from collections.abc import Mapping
from typing import Any


def merge_patch(stored: Any, patch: Any) -> Any:
    """Returns a JSON value with a patch: objects are merged, null removes a member, and any other value replaces the
    stored one."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(stored) if isinstance(stored, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged
