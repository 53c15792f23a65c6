"""What can go wrong, as the caller sees it. HTTP statuses are known in `app.web` alone.

ThumbwheelError
├── Invalid        the request says something impossible; `faults` point at the fields
├── TooLarge       the request is longer than what is taken at once
├── Unauthenticated  no key, or one that nobody knows
├── Forbidden      a known key that may not do this
├── NotFound       no such thing, or none that this key may see
├── Gone           it was there, and was deleted for good
├── Conflict       it contradicts what is stored
├── Refused        a rule of the product says no; `reasons` are all of them, each with its remedy
├── StaleLease     somebody else holds the run now: the writer has to stop
└── Unavailable    a server that is needed does not answer: try again later
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

#: Faults that an answer names; the others are only counted.
MOST_FAULTS = 20
#: Characters of a text that may quote what was sent.
MOST_CHARACTERS = 300


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a request: where (a JSON pointer into the body, or a parameter's name) and what."""

    pointer: str
    message: str


class Faults(list[Fault]):
    """The first faults of a request, `MOST_FAULTS` at most, and how many there are in all."""

    def __init__(self, first: Iterable[Fault], total: int) -> None:
        super().__init__(islice(first, MOST_FAULTS))
        self.total = total

    def sentence(self) -> str:
        """Returns the first fault, and how many more there are."""
        more = f" (and {self.total - 1:,} more)" if self.total > 1 else ""
        return f"{self[0].pointer or '/'}: {self[0].message}{more}."


def brief(text: str, most: int = MOST_CHARACTERS) -> str:
    """Returns the text, cut where it is longer than `most` characters: it may quote what was sent."""
    return text if len(text) <= most else text[: most - 1] + "…"


def pointer_into(body: Any, location: Sequence[int | str], *, missing: bool) -> str:
    """The JSON pointer of pydantic's `location` in `body`, empty for the body itself.

    pydantic also names the branch of a union, which is in no body and left out here. `missing` says that the last part
    is the name of a field that should be there.
    """
    pointer = ""
    place = body
    for number, part in enumerate(location, start=1):
        within = isinstance(place, list) and isinstance(part, int) and part < len(place)
        if within or (isinstance(place, dict) and part in place):
            place = place[part]
        elif not (missing and number == len(location)):
            continue
        pointer += "/" + pointer_part(str(part))
    return pointer


def pointer_part(name: str) -> str:
    """Escaped as RFC 6901 says; what is no Unicode cannot be sent back as it came."""
    return name.encode(errors="replace").decode().replace("~", "~0").replace("/", "~1")


class ThumbwheelError(Exception):
    """`code` is stable and for machines; `message` is one sentence with the remedy, for people."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        faults: Sequence[Fault] = (),
        reasons: Sequence[str] = (),
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.faults = tuple(faults)
        self.faults_total = faults.total if isinstance(faults, Faults) else len(self.faults)
        self.reasons = tuple(reasons)
        self.details = dict(details or {})


class Invalid(ThumbwheelError):
    pass


class TooLarge(ThumbwheelError):
    pass


class Unauthenticated(ThumbwheelError):
    pass


class Forbidden(ThumbwheelError):
    pass


class NotFound(ThumbwheelError):
    pass


class Gone(ThumbwheelError):
    pass


class Conflict(ThumbwheelError):
    pass


class Refused(ThumbwheelError):
    pass


class StaleLease(ThumbwheelError):
    pass


class Unavailable(ThumbwheelError):
    pass
