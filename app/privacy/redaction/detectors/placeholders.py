"""Values that stand in documentation and code where a secret would be. Pure."""

import math
from collections import Counter

from app.privacy.redaction.patterns import compiled

_PLACEHOLDER = compiled(
    r"^(?:pass|passwd|password|pwd|secret|token|key|string|str|none|null|nil|true|false|undefined|required|optional"
    r"|changeme|\*+|x+|\.+|•+|_+|-+)$"
    r"|your|example|placeholder|dummy|redacted|xxxx|\.\.\.|…|\*\*\*|<|>|\$\{|\$\(|\{\{|%\(|%s|^\$[a-z_]|^[{%\[(]"
    r"|1234567890abcdef|abcdefghijkl",
    any_case=True,
)


def is_placeholder(value: str) -> bool:
    return _PLACEHOLDER.search(value) is not None


def entropy(value: str) -> float:
    """Returns the entropy of the characters of a value, in bits per character."""
    size = len(value)
    return -sum(count / size * math.log2(count / size) for count in Counter(value).values())
