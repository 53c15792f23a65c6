"""A project on a server that allows private addresses, and a receiver on this machine."""

from collections.abc import Iterator

import pytest

from app import settings
from tests.desk import make_project
from tests.webhooks.receiver import Receiver, receiving


@pytest.fixture
def private_allowed(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("THUMBWHEEL_WEBHOOKS_ALLOW_PRIVATE", "true")
    settings.current.cache_clear()
    make_project()
    yield
    monkeypatch.undo()
    settings.current.cache_clear()


@pytest.fixture
def receiver(private_allowed: None) -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver
