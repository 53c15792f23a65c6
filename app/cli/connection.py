"""Shared parts of the commands that call the API: options, the client, and ids given by their last characters."""

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
    typer.Option("--project", "-p", help="The project, if the key opens several.  [default: THUMBWHEEL_PROJECT]"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON (the default when output is piped).")]

SHOWN_CHARACTERS = 8
LEAST_CHARACTERS = 4


class Identified(Protocol):
    @property
    def id(self) -> UUID: ...


Item = TypeVar("Item", bound=Identified)


#: A person waits at a terminal, so a few seconds without an answer are enough. Watching and importing take longer and
#: try more often.
TRIES = 3
PATIENT_TRIES = 10


#: Most calls are answered at once; those that read the whole log may take minutes and set their own time-out.
TIMEOUT_SECONDS = 30


def connected(project: str | None = None, *, tries: int = TRIES, timeout: float = TIMEOUT_SECONDS) -> "Client":
    """Returns a client with the URL and the key of the settings."""
    from thumbwheel import Client

    chosen = settings.current()
    return Client(chosen.url, chosen.api_key, project or chosen.project, tries=tries, timeout=timeout)


def ending(identity: UUID | None) -> str:
    """Returns the last characters of an id, for tables: ids begin alike, as they begin with the time."""
    return str(identity)[-SHOWN_CHARACTERS:] if identity else "–"


def of_ending(given: str, items: Iterable[Item], what: str) -> UUID:
    """Returns the id that `given` is or ends. Raises `Invalid` if no item matches, or several do."""
    text = given.strip().lower()
    try:
        return UUID(text)
    except ValueError:
        pass
    if not re.fullmatch(rf"[0-9a-f-]{{{LEAST_CHARACTERS},}}", text):
        raise Invalid(
            f"{given!r} is not the id of a {what}: give the whole id, or at least the last {LEAST_CHARACTERS} "
            "characters of it.",
            code="invalid_id",
        )
    matches = [item.id for item in items if str(item.id).endswith(text)]
    if not matches:
        raise Invalid(f"No {what} has an id that ends with {text}.", code="unknown_id")
    if len(matches) > 1:
        raise Invalid(f"{len(matches)} ids of a {what} end with {text}: give more characters.", code="ambiguous_id")
    return matches[0]
