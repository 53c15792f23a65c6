"""The status page at ``/``, rendered on the server and readable without scripts."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse

from app.dashboard import page
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
    names = projects.ids(session) if visitor.project is None else [visitor.project]
    chosen = project or (names[0] if names else None)
    if chosen is not None and visitor.project not in (None, chosen):
        raise Forbidden(f"This key is limited to project {visitor.project}.", code="other_project")
    view = page.view_of(session, chosen, request.app.state.page_readiness) if chosen else None
    archived = projects.archived_ids(session) if visitor.project is None else []
    return rendered("page.html", view=view, projects=names, archived=archived, now=now())
