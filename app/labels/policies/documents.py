"""Reads label policies from documents with all their faults, and writes their canonical form. Pure."""

import hashlib
import json
from typing import Any

from thumbwheel import wire

from app.errors import Fault
from app.feedback.signals import parse


def read(document: Any) -> wire.LabelPolicy | list[Fault]:
    """Returns the policy of a document, or all faults of the document, each with its JSON pointer and the rule."""
    return parse(wire.LabelPolicy, document)


def document_of(policy: wire.LabelPolicy) -> dict[str, Any]:
    """Returns the whole policy as JSON values, with the defaults of omitted fields."""
    return policy.model_dump(mode="json", by_alias=True)


def sha256_of(policy: wire.LabelPolicy) -> str:
    """Returns the hash of the canonical JSON: sorted keys, no spaces. Policies are equal if their hashes are."""
    text = json.dumps(document_of(policy), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
