"""The status page at ``/``: rendered on the server, readable without scripts."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from app.dashboard import page, plots
from app.dashboard.reader import Reader, reader
from app.database import now
from app.errors import Forbidden
from app.projects import service as projects
from app.web import Transaction

STATIC = Path(__file__).parent / "static"

router = APIRouter(include_in_schema=False)

templates = Environment(
    loader=PackageLoader("app.dashboard"), autoescape=select_autoescape(), undefined=StrictUndefined, trim_blocks=True
)
templates.filters.update(
    short=page.short, when=page.when, duration=page.duration, took=page.took, interval=page.interval
)
templates.globals.update(bar=plots.interval_bar)

#: Nothing but our own files may run on the page, and nobody may frame it.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; "
    "connect-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}


@router.get("/", response_class=HTMLResponse)
def status_page(
    session: Transaction,
    request: Request,
    at: Annotated[Reader, Depends(reader)],
    project: Annotated[str | None, Query()] = None,
) -> HTMLResponse:
    names = projects.ids(session) if at.project is None else [at.project]
    chosen = project or (names[0] if names else None)
    if chosen is not None and at.project not in (None, chosen):
        raise Forbidden(f"This key opens the project {at.project} alone.", code="other_project")
    view = page.view_of(session, chosen, request.app.state.figures) if chosen else None
    return HTMLResponse(
        templates.get_template("page.html").render(view=view, projects=names, now=now()), headers=HEADERS
    )
