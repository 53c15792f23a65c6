"""Resolves the project of a request."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from pydantic import Field
from sqlalchemy.orm import Session
from thumbwheel import wire

from app.access.caller import Caller, may
from app.access.operator_log import service as operator_log
from app.errors import Fault, Forbidden, Invalid
from app.projects import service
from app.web.session import Transaction

Named = Annotated[str | None, Field(description="the project; optional if the key opens only one")]


@dataclass(frozen=True)
class Scoped:
    """The project of a request, and its caller as the ledgers record it (`by`).

    limited  whether the caller's key opens this project alone
    """

    project: str
    by: str
    limited: bool


def project_of(session: Session, caller: Caller, project: str | None) -> Scoped:
    """Returns the project of the caller's key, or else `project`, which the request names.

    Raises `Forbidden` for a project that the key does not open, `NotFound` for an unknown one, and `Invalid` if the
    request names none.
    """
    if caller.project is not None:
        if project not in (None, caller.project):
            raise Forbidden(
                f"Your key is limited to project {caller.project}: leave out `project`, or use another key.",
                code="other_project",
            )
        return Scoped(caller.project, caller.by, limited=True)
    if project is None:
        raise Invalid(
            "Your key opens every project: name one with the query parameter `project`.",
            code="no_project",
            faults=[Fault("project", "is missing")],
        )
    return Scoped(service.get(session, project).project, caller.by, limited=False)


def scoped(scope: wire.Scope, *, logged: bool = False) -> Callable[[Session, Caller, str | None], Scoped]:
    """Returns a dependency that resolves the project of a request whose key has `scope`; raises like `project_of`. For
    `logged` see `may`.
    """

    def resolve(
        session: Transaction, caller: Annotated[Caller, Depends(may(scope, logged=logged))], project: Named = None
    ) -> Scoped:
        at = project_of(session, caller, project)
        operator_log.note(session, at.project)
        return at

    return resolve
