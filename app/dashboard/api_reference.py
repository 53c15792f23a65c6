"""The API reference at ``/docs``: Swagger UI with files from a wheel, so that it needs no internet."""

import importlib.util
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from app.dashboard.html import rendered

ASSETS_PATH = "/swagger-ui"

router = APIRouter(include_in_schema=False)


def assets() -> StaticFiles:
    """Returns the files of Swagger UI, to be mounted at `ASSETS_PATH`, without importing their package."""
    spec = importlib.util.find_spec("fastapi_offline")
    assert spec is not None, "fastapi-offline is installed with the extra `server`"
    assert spec.origin is not None
    return StaticFiles(directory=Path(spec.origin).parent / "static")


@router.get("/docs", response_class=HTMLResponse)
def api_reference() -> HTMLResponse:
    return rendered("api_reference.html", assets=ASSETS_PATH)
