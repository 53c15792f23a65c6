"""A project of the real API behind a socket, and a stand-in for the API that fails to order."""

from collections.abc import Iterator

import pytest
from thumbwheel import Client, wire

from app.access.service import first_admin_key
from app.database import transaction
from app.project_setup import service as project_setup
from tests.client.faulty_api import FaultyApi, faulty_api
from tests.served import served


@pytest.fixture(scope="module")  # not of the session: its relay would send the messages that other tests look for
def served_url(migrated) -> Iterator[str]:
    with served() as url:
        yield url


@pytest.fixture
def api_environment(served_url, database, monkeypatch) -> dict[str, str]:
    """The variables of a product that sends feedback to the real API. They are set in this process, too."""
    with transaction() as session:
        key = first_admin_key(session)
        project_setup.create(session, wire.NewProject(project="acme", base_model="/models/base", suites=[]))
    assert key is not None
    variables = {"THUMBWHEEL_URL": served_url, "THUMBWHEEL_API_KEY": key, "THUMBWHEEL_PROJECT": "acme"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def client(api_environment) -> Iterator[Client]:
    """A client of the real API, which sees what is stored."""
    with Client() as client:
        yield client


@pytest.fixture
def faulty() -> Iterator[FaultyApi]:
    with faulty_api() as api:
        yield api
