"""What the commands that call the API share: their options, the client, and ids by their endings."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Protocol, TypeVar
from uuid import UUID

import typer

from app import settings
from app.errors import Invalid

if TYPE_CHECKING:
    from thumbwheel import Client

Project = Annotated[
    str | None,
    typer.Option("--project", "-p", help="The project, where the key opens several.  [default: THUMBWHEEL_PROJECT]"),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table; a pipe gets it anyway.")]

SHOWN_CHARACTERS = 8
LEAST_CHARACTERS = 4


class Identified(Protocol):
    @property
    def id(self) -> UUID: ...


Item = TypeVar("Item", bound=Identified)


#: Somebody waits at a terminal: seconds of silence are enough. Who stays longer (watching, importing) is more patient.
TRIES = 3
PATIENT_TRIES = 10


#: Most calls are answered at once; what reads the whole log may take minutes.
TIMEOUT_SECONDS = 30


def connected(project: str | None = None, *, tries: int = TRIES, timeout: float = TIMEOUT_SECONDS) -> "Client":
    """A client for the API and with the key of the settings."""
    from thumbwheel import Client

    chosen = settings.current()
    return Client(chosen.url, chosen.api_key, project or chosen.project, tries=tries, timeout=timeout)


def ending(identity: UUID | None) -> str:
    """What tables show of an id; ids begin alike, since they begin with the time."""
    return str(identity)[-SHOWN_CHARACTERS:] if identity else "–"


def of_ending(given: str, items: Iterable[Item], what: str) -> UUID:
    """The id that `given` is, or ends. Raises `Invalid` where none of `items` fits, or several do."""
    text = given.strip().lower()
    try:
        return UUID(text)
    except ValueError:
        pass
    if not re.fullmatch(rf"[0-9a-f-]{{{LEAST_CHARACTERS},}}", text):
        raise Invalid(
            f"{given!r} is no id of a {what}: give the whole one, or its last characters, at least {LEAST_CHARACTERS}.",
            code="invalid_id",
        )
    found = [item.id for item in items if str(item.id).endswith(text)]
    if not found:
        raise Invalid(f"No {what} has an id that ends with {text}.", code="unknown_id")
    if len(found) > 1:
        raise Invalid(f"{len(found)} ids of a {what} end with {text}: give more characters.", code="ambiguous_id")
    return found[0]
