"""Renders the templates of pages, with the headers of every page."""

from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from app.dashboard import page, plots

#: Only our own files may run on a page, and no other site may frame it. Plots need styles on their elements.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; font-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

templates = Environment(
    loader=PackageLoader("app.dashboard"), autoescape=select_autoescape(), undefined=StrictUndefined, trim_blocks=True
)
templates.filters.update(
    short=page.short, when=page.when, duration=page.duration, took=page.took, interval=page.interval
)
templates.globals.update(bar=plots.interval_bar)


def rendered(template: str, *, status: int = 200, headers: dict[str, str] | None = None, **values: Any) -> HTMLResponse:
    return HTMLResponse(templates.get_template(template).render(values), status, headers={**HEADERS, **(headers or {})})
