"""The API in this process, on a real Postgres and Valkey, and keys to call it with."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from thumbwheel import wire

from app import settings
from app.access import service as access
from app.database import transaction
from app.main import create_app
from app.project_setup import service as project_setup


@pytest.fixture
def admin_key(database: str) -> str:
    with transaction() as session:
        key = access.first_admin_key(session)
    assert key is not None
    return key


@pytest.fixture(scope="session")
def application() -> FastAPI:
    """Creates the application once, as its routes take a tenth of a second. Each test that uses `api` starts it."""
    return create_app()


@pytest.fixture(scope="session")
def document(application: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of this code, which takes seconds to make."""
    return application.openapi()


@pytest.fixture
def api(application: FastAPI, admin_key: str) -> Iterator[TestClient]:
    """A client with an admin key. The base model of its project `acme` is never loaded."""
    with transaction() as session:
        project_setup.create(session, wire.NewProject(project="acme", base_model="/models/base", suites=[]))
    with TestClient(application, headers={"Authorization": f"Bearer {admin_key}"}) as client:
        yield client


@pytest.fixture
def key(api: TestClient) -> Callable[..., dict[str, str]]:
    """A function: `key("runs:read", project="acme")` returns headers with a new key of these scopes."""

    def make(*scopes: wire.Scope, project: str | None = None) -> dict[str, str]:
        created = api.post("/v1/keys", json={"name": "a test", "scopes": list(scopes), "project": project})
        assert created.status_code == 201, created.text
        return {"Authorization": f"Bearer {created.json()['secret']}"}

    return make


@pytest.fixture
def open_page(api: TestClient) -> Iterator[TestClient]:
    """A client of the same API whose status page needs no key."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THUMBWHEEL_PAGE_ACCESS", "open")
        settings.current.cache_clear()
        yield api
    settings.current.cache_clear()
