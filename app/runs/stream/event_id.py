"""The ids of a run's events, each of which is a position in the stream. Pure."""

import re
from dataclasses import dataclass
from typing import Self

from app.errors import Fault, Invalid

WRITTEN = re.compile(r"([0-9]{1,18})-([0-9]{1,6})(-end)?", re.ASCII)


@dataclass(frozen=True)
class Place:
    """A position in the events of a run: after row `number` of its history or metrics, and `warnings` warnings."""

    number: int = 0
    warnings: int = 0
    ended: bool = False

    def __str__(self) -> str:
        return f"{self.number}-{self.warnings}" + ("-end" if self.ended else "")

    @classmethod
    def read(cls, text: str) -> Self:
        """Parses the id of an event. Raises `Invalid` if `text` cannot be one."""
        match = WRITTEN.fullmatch(text)
        if match is None:
            raise Invalid(
                "The last event id is not valid for this stream. Omit it to begin with the first event.",
                code="invalid_event_id",
                faults=[Fault("last_event_id", "is not an id of an event")],
            )
        return cls(int(match[1]), int(match[2]), match[3] is not None)
