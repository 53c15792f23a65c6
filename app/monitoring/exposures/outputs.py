"""The outputs of one release. Pure."""

from dataclasses import dataclass, field


@dataclass
class Outputs:
    """Outputs: all, and by key and value of their metadata; an empty value is none."""

    total: int = 0
    values: dict[str, dict[str, int]] = field(default_factory=dict)
