"""The project for tests of runs: a support desk with enough feedback for a snapshot."""

import pytest

from tests.desk import make_project, vote


@pytest.fixture
def project(database: str) -> None:
    make_project()
    vote()
