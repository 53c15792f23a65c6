"""Figures for Prometheus over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPAuthorizationCredentials

from app.access.caller import bearer
from app.metrics.service import MetricsEndpoint
from app.web.problems import problems

router = APIRouter(tags=["metrics"])

FORMATS = ("text/plain; version=0.0.4; charset=utf-8", "application/openmetrics-text; version=1.0.0; charset=utf-8")


@router.get(
    "/metrics",
    operation_id="get_metrics",
    summary="Show figures for Prometheus",
    response_class=Response,
    responses={
        200: {
            "description": "In Prometheus' text format, or OpenMetrics if `Accept` asks for it",
            "content": {name: {"schema": {"type": "string"}} for name in FORMATS},
        },
        **problems(),
    },
)
async def get_metrics(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Response:
    """Returns figures of this process, and of the projects that the key may see; it needs the scope runs:read. The
    figures of projects are some seconds old, and left out while Postgres is away. With THUMBWHEEL_PAGE_ACCESS=open no
    key is needed."""
    metrics: MetricsEndpoint = request.app.state.metrics
    return await metrics(credentials.credentials if credentials else None, request.headers.get("accept", ""))
