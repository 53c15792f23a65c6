"""Every operation of the OpenAPI document is called with valid and invalid input and answers as documented."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.python._constants.orchestrator import make_constants_value_source
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from thumbwheel import wire

from app.access import service as access
from app.database import transaction
from app.project_setup import service as project_setup
from tests.conftest import Servers
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
    """Serializes a generated value unchanged. Other tests cover the content of lines."""
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


schema = schemathesis.openapi.from_path(WRITTEN)
#: The operations with the largest bodies: hundreds of cases each.
LARGE = {
    "POST /v1/runs", "POST /v1/label-policies", "POST /v1/label-policies/preview", "POST /v1/projects",
    "POST /v1/suites", "PATCH /v1/projects/{project}", "POST /v1/feedback/batch", "POST /v1/comparisons",
    "POST /v1/sweeps", "POST /v1/feedback", "PUT /v1/completions/{completion_id}", "POST /v1/gates",
    "POST /v1/webhooks/endpoints",
}  # fmt: skip


OPERATIONS = {operation.ok().label: operation.ok() for operation in schema.get_all_operations()}


def _labels() -> Iterator[Any]:
    for label in OPERATIONS:
        yield pytest.param(label, marks=pytest.mark.trial) if label in LARGE else label


@pytest.fixture
def key(database: str) -> dict[str, str]:
    """The headers of an admin key in a database with the project `acme`."""
    with transaction() as session:
        project_setup.create(session, wire.NewProject(project="acme", base_model="/models/base", suites=[]))
        created = access.create_key(session, wire.NewKey(name="t", scopes=["admin"], project=None), within=None)
    return {"Authorization": f"Bearer {created.secret}"}


@pytest.fixture(scope="module")
def url(migrated: Servers) -> Iterator[str]:
    with served() as url:
        yield url


@pytest.fixture(scope="module")
def session(url: str) -> Iterator[requests.Session]:
    """A connection that all calls share."""
    with requests.Session() as session:
        session.trust_env = False  # saves a read of the environment and ~/.netrc per call
        yield session


@pytest.mark.parametrize("label", _labels())
def test_no_call_is_a_server_error_or_answered_otherwise_than_the_document_says(
    label: str, url: str, session: requests.Session, key: dict[str, str]
) -> None:
    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    def call(case: schemathesis.Case) -> None:
        if "project" in {parameter.name for parameter in case.operation.query}:
            case.query = {**(case.query or {}), "project": "acme"}
        case.call_and_validate(base_url=url, session=session, headers=key, checks=list(CHECKS))

    tried(label, call)()


def tried(label: str, call: Callable[[schemathesis.Case], None]) -> Callable[[], None]:
    """Returns the test that `schema.parametrize()` would make for one operation.

    `parametrize()` generates the calls of all operations before the first test, in every process of pytest-xdist,
    although most of them belong to another process.
    """
    feedback = FeedbackSources(constants_value_source=make_constants_value_source(schema))
    made: Callable[[], None] = build_operation_test(
        config=schema.config, operation=OPERATIONS[label], test_func=call, given_kwargs={}, feedback=feedback
    )
    return made
