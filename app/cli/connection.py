"""Shared parts of the commands that call the API: options, the client, and ids by their last characters."""

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


#: The number of times that a request is sent without an answer. A person at a terminal waits only a few seconds;
#: commands that take long anyway, such as watching and importing, try more often.
TRIES = 3
PATIENT_TRIES = 10


#: Most calls are answered at once; those that read the whole log may take minutes, with a longer time-out.
TIMEOUT_SECONDS = 30


def connected(project: str | None = None, *, tries: int = TRIES, timeout: float = TIMEOUT_SECONDS) -> "Client":
    """Returns a client with the URL and the key of the settings."""
    from thumbwheel import Client

    config = settings.current()
    return Client(config.url, config.api_key, project or config.project, tries=tries, timeout=timeout)


def short_id(identity: UUID | None) -> str:
    """Returns the last characters of an id, for tables: the first ones are the time, so they differ little."""
    return str(identity)[-SHOWN_CHARACTERS:] if identity else "–"


def find_id(argument: str, items: Iterable[Item], noun: str) -> UUID:
    """Returns the id that the argument gives in full or by its last characters.

    noun  the kind of the items, for messages

    Raises `Invalid` if no item matches, or several do.
    """
    text = argument.strip().lower()
    try:
        return UUID(text)
    except ValueError:
        pass
    if not re.fullmatch(rf"[0-9a-f-]{{{LEAST_CHARACTERS},}}", text):
        raise Invalid(
            f"{argument!r} is not the id of a {noun}: give the whole id, or at least the last {LEAST_CHARACTERS} "
            "characters of it.",
            code="invalid_id",
        )
    matches = [item.id for item in items if str(item.id).endswith(text)]
    if not matches:
        raise Invalid(f"No {noun} has an id that ends with {text}.", code="unknown_id")
    if len(matches) > 1:
        raise Invalid(f"The ids of {len(matches)} {noun}s end with {text}: give more characters.", code="ambiguous_id")
    return matches[0]
