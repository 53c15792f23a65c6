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
from app.web.session import Transaction

Named = Annotated[str | None, Field(description="the project; may be left out where the key opens one alone")]


@dataclass(frozen=True)
class Scoped:
    """The project of a request, and who asks: `by` is written into ledgers."""

    project: str
    by: str


def project_of(session: Session, caller: Caller, project: str | None) -> Scoped:
    """The project that a caller means: that of the key, else `project`, which the request names.

    Raises `Forbidden` for a project that the key does not open, `NotFound` for an unknown one, `Invalid` where none is
    named.
    """
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


def scoped(scope: wire.Scope) -> Callable[[Session, Caller, str | None], Scoped]:
    """A dependency: the project of a request whose key may do what needs `scope`. Raises as `project_of`."""

    def resolve(session: Transaction, caller: Annotated[Caller, Depends(may(scope))], project: Named = None) -> Scoped:
        return project_of(session, caller, project)

    return resolve
