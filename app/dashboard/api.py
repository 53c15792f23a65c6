"""The status page at ``/`` and the pages of comparisons and serving targets, rendered on the server without scripts."""

from pathlib import Path
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from app.dashboard import comparisons, page, serving
from app.dashboard.html import rendered
from app.dashboard.reader import Reader, reader
from app.database import now
from app.errors import Forbidden
from app.projects import service as projects
from app.web.session import Transaction

STATIC = Path(__file__).parent / "static"

router = APIRouter(include_in_schema=False)


@router.get("/", response_class=HTMLResponse)
def status_page(
    session: Transaction,
    request: Request,
    visitor: Annotated[Reader, Depends(reader)],
    project: Annotated[str | None, Query()] = None,
) -> HTMLResponse:
    names, chosen = _chosen(session, visitor, project)
    view = page.view_of(session, chosen, request.app.state.page_readiness) if chosen else None
    archived = projects.archived_ids(session) if visitor.project is None else []
    return rendered("page.html", view=view, projects=names, archived=archived, now=now())


@router.get("/comparisons", response_class=HTMLResponse)
def comparisons_page(
    session: Transaction,
    visitor: Annotated[Reader, Depends(reader)],
    project: Annotated[str | None, Query()] = None,
    comparison: Annotated[UUID | None, Query()] = None,
) -> HTMLResponse:
    names, chosen = _chosen(session, visitor, project)
    view = comparisons.view_of(session, chosen, comparison) if chosen else None
    return rendered("comparisons.html", view=view, projects=names, now=now(), states=comparisons.states)


@router.get("/serving", response_class=HTMLResponse)
def serving_page(
    session: Transaction,
    visitor: Annotated[Reader, Depends(reader)],
    project: Annotated[str | None, Query()] = None,
) -> HTMLResponse:
    names, chosen = _chosen(session, visitor, project)
    view = serving.view_of(session, chosen) if chosen else None
    return rendered(
        "serving.html", view=view, projects=names, now=now(), style=serving.style, words=serving.verdict_in_words
    )


def _chosen(session: Session, visitor: Reader, project: str | None) -> tuple[list[str], str | None]:
    """Returns the projects that the visitor may see, and the one to show. Raises `Forbidden`."""
    names = projects.ids(session) if visitor.project is None else [visitor.project]
    chosen = project or (names[0] if names else None)
    if chosen is not None and visitor.project not in (None, chosen):
        raise Forbidden(f"This key is limited to project {visitor.project}.", code="other_project")
    return names, chosen
