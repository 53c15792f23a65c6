"""Every operation of the OpenAPI document, called with what it allows and with what it does not: it keeps its word."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from thumbwheel import wire

from app.access import service as access
from app.database import transaction
from app.projects import service as projects
from tests.served import served

WRITTEN = Path(__file__).parents[2] / "docs" / "openapi.json"
EXAMPLES = 4
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)


@schemathesis.serializer("application/x-ndjson")
def _lines(_: object, value: Any) -> bytes:
    """Generated values as they are: what a line holds is tried elsewhere."""
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


schema = schemathesis.openapi.from_path(WRITTEN)


@pytest.fixture
def key(database: str) -> dict[str, str]:
    """Headers of an admin; there is a project `acme`."""
    with transaction() as session:
        projects.create(session, wire.NewProject(project="acme", base_model="/models/base"))
        made = access.create_key(session, wire.NewKey(name="t", scopes=["admin"], project=None), within=None)
    return {"Authorization": f"Bearer {made.secret}"}


@pytest.fixture
def url(key: dict[str, str]) -> Iterator[str]:
    with served() as url:
        yield url


@pytest.fixture
def session(url: str) -> Iterator[requests.Session]:
    """One connection for the hundreds of calls of an operation."""
    with requests.Session() as session:
        session.trust_env = False  # a look into the environment and ~/.netrc at each call
        yield session


@schema.parametrize()
@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
def test_no_call_is_a_server_error_or_answered_otherwise_than_the_document_says(
    case: schemathesis.Case, url: str, session: requests.Session, key: dict[str, str]
) -> None:
    if "project" in {parameter.name for parameter in case.operation.query}:
        case.query = {**(case.query or {}), "project": "acme"}
    case.call_and_validate(base_url=url, session=session, headers=key, checks=list(CHECKS))
