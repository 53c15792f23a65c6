"""Which project a request is about."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from pydantic import Field
from sqlalchemy.orm import Session
from thumbwheel import wire

from app.access.caller import Caller, may
from app.errors import Fault, Forbidden, Invalid
from app.projects import service
from app.web import Transaction

Named = Annotated[str | None, Field(description="the project; may be left out where the key opens one alone")]


@dataclass(frozen=True)
class Scoped:
    """The project of a request, and who asks: `by` is written into ledgers."""

    project: str
    by: str


def scoped(scope: wire.Scope) -> Callable[[Session, Caller, str | None], Scoped]:
    """A dependency: the project of a request whose key may do what needs `scope`.

    The project comes from the key; else from the path or the query parameter `project`. Raises `Forbidden` for a
    project that the key does not open, `NotFound` for an unknown one, `Invalid` where none is named.
    """

    def resolve(session: Transaction, caller: Annotated[Caller, Depends(may(scope))], project: Named = None) -> Scoped:
        if caller.project is not None:
            if project not in (None, caller.project):
                raise Forbidden(
                    f"Your key opens project {caller.project} alone: leave out `project`, or use another key.",
                    code="other_project",
                )
            return Scoped(caller.project, caller.by)
        if project is None:
            raise Invalid(
                "Your key opens every project: name one by the query parameter `project`.",
                code="no_project",
                faults=[Fault("project", "is missing")],
            )
        return Scoped(service.get(session, project).project, caller.by)

    return resolve
