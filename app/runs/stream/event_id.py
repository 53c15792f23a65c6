"""Where in a run's events somebody is: what stands behind `id:`. Pure."""

import re
from dataclasses import dataclass
from typing import Self

from app.errors import Fault, Invalid

WRITTEN = re.compile(r"([0-9]{1,18})-([0-9]{1,6})(-end)?", re.ASCII)


@dataclass(frozen=True)
class Place:
    """Behind the row of the run's history or metrics with this number, and behind so many of its warnings."""

    number: int = 0
    warnings: int = 0
    ended: bool = False

    def __str__(self) -> str:
        return f"{self.number}-{self.warnings}" + ("-end" if self.ended else "")

    @classmethod
    def read(cls, text: str) -> Self:
        """Raises `Invalid` for what no event had as its id."""
        found = WRITTEN.fullmatch(text)
        if found is None:
            raise Invalid(
                "The last event id is none of this stream: leave it out to begin with the first event.",
                code="invalid_event_id",
                faults=[Fault("last_event_id", "is not an id of an event")],
            )
        return cls(int(found[1]), int(found[2]), found[3] is not None)
