"""A label policy as a document: read with everything that is wrong with it, and its one canonical form. Pure."""

import hashlib
import json
from typing import Any

from thumbwheel import wire

from app.errors import Fault
from app.feedback.signals import parse


def read(document: Any) -> wire.LabelPolicy | list[Fault]:
    """The policy that a document is; or everything that is wrong with it, each with its JSON pointer and the rule."""
    return parse(wire.LabelPolicy, document)


def document_of(policy: wire.LabelPolicy) -> dict[str, Any]:
    """The whole policy as JSON values: what was left out is there with its default."""
    return policy.model_dump(mode="json", by_alias=True)


def sha256_of(policy: wire.LabelPolicy) -> str:
    """Of the document as canonical JSON: keys in order, no spaces. Policies are the same where this is."""
    text = json.dumps(document_of(policy), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
