"""The errors that a caller may see. Only `app.web` maps them to HTTP statuses.

ThumbwheelError
├── Invalid        the request is invalid; `faults` point at the fields
├── TooLarge       the request exceeds a limit on its size
├── Unauthenticated  no key, or an unknown one
├── Forbidden      a known key without permission for this
├── NotFound       it does not exist, or this key may not see it
├── Gone           it existed and was deleted for good
├── Conflict       it contradicts what is stored
├── Refused        a rule of the product forbids it; `reasons` holds each reason with its remedy
├── RateLimited    too many events within a minute; `headers` say when to come again
├── StaleLease     another worker holds the run now: the writer has to stop
└── Unavailable    a server that is needed does not answer: try again later
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

#: The largest number of faults that an answer lists; the others are only counted.
MOST_FAULTS = 20
#: The largest number of characters in a text that may quote a request.
MOST_CHARACTERS = 300


@dataclass(frozen=True)
class Fault:
    """A fault of a request: its place (a JSON pointer into the body, or a parameter's name) and a message."""

    pointer: str
    message: str


class Faults(list[Fault]):
    """The first faults of a request, `MOST_FAULTS` at most, and their total number."""

    def __init__(self, first: Iterable[Fault], total: int) -> None:
        super().__init__(islice(first, MOST_FAULTS))
        self.total = total

    def sentence(self) -> str:
        """Returns the first fault and the number of further ones."""
        more = f" (and {self.total - 1:,} more)" if self.total > 1 else ""
        return f"{self[0].pointer or '/'}: {self[0].message}{more}."


def brief(text: str, most: int = MOST_CHARACTERS) -> str:
    """Returns the text, truncated to `most` characters since it may quote a request."""
    return text if len(text) <= most else text[: most - 1] + "…"


def pointer_into(body: Any, location: Sequence[int | str], *, missing: bool) -> str:
    """Returns the JSON pointer of pydantic's `location` in `body`, empty for the body itself.

    pydantic also names the branch of a union, which the body does not contain and this leaves out. With `missing`, the
    last part is the name of a missing field.
    """
    pointer = ""
    value = body
    for number, part in enumerate(location, start=1):
        within = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if within or (isinstance(value, dict) and part in value):
            value = value[part]
        elif not (missing and number == len(location)):
            continue
        pointer += "/" + pointer_part(str(part))
    return pointer


def pointer_part(name: str) -> str:
    """Escapes a name as RFC 6901 requires; lone surrogates, which cannot be sent back, become question marks."""
    return name.encode(errors="replace").decode().replace("~", "~0").replace("/", "~1")


class ThumbwheelError(Exception):
    """The base of all errors. `code` is stable, for programs; `message` is a sentence with the remedy, for people."""

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


class RateLimited(ThumbwheelError):
    def __init__(self, message: str, *, code: str, details: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        super().__init__(message, code=code, details=details)
        self.headers = dict(headers)


class StaleLease(ThumbwheelError):
    pass


class Unavailable(ThumbwheelError):
    pass
