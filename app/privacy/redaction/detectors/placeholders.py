"""Values that stand in documentation and code where a secret would be. Pure."""

import math
from collections import Counter

from app.privacy.redaction.patterns import compiled

_PLACEHOLDER = compiled(
    # words and signs that are the whole value
    r"^(?:my|new|old|test|the|a|db|user)?[_-]?(?:pass|passwd|password|pwd|secret|token|key|apikey|api_key|string|str|none|null"
    r"|nil|true|false|undefined|required|optional|changeme|change_me|correct|incorrect|wrong|invalid|valid)[_-]?(?:here)?!?$"
    r"|^[*x.•_#-]+$|^[a-z]+[_-](?:[a-z]+[_-])?(?:password|passwd|secret|token|key)$"
    # templates: ${NAME}, {{name}}, <name>, %(name)s, %NAME%, $NAME, [name]
    r"|^\$\{|^\$\(|\{\{|^\{[a-z_.]*\}$|^<[^>]*>?$|^%\(|^%s$|^%[a-z_]+%$|^\$[a-z_]+$|^\[[a-z _-]+\]?$|^#\{"
    # what people write in its place
    r"|your[_-]|[_-]here\b|^your|example|placeholder|dummy|redacted|xxxx|\.\.\.|…|\*\*\*|1234567890abcdef|abcdefghijkl",
    any_case=True,
)


def is_placeholder(value: str) -> bool:
    return _PLACEHOLDER.search(value) is not None


def entropy(value: str) -> float:
    """Returns the entropy of the characters of a value, in bits per character."""
    size = len(value)
    return -sum(count / size * math.log2(count / size) for count in Counter(value).values())
