"""Real servers for the tests: a Postgres and a Valkey per worker of pytest-xdist, on free ports, removed afterwards."""

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alembic import command
from hypothesis import HealthCheck
from hypothesis import settings as property_settings

from app import database as app_database
from app import outbox, services, settings
from app.cli.migrate import configuration
from tests import logged
from tests.emptied import Emptying

if TYPE_CHECKING:
    from app.cli.stack import Stack

#: Fixtures of the API, for the `web` folder of every room, of a browser, and of a real server of models.
pytest_plugins = ["tests.api_fixtures", "tests.chromium", "tests.transformers_server"]

ROOT = Path(__file__).parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"

# The tests set the environment; a developer's own settings do not affect them.
for name in [name for name in os.environ if name.startswith("THUMBWHEEL_")]:
    del os.environ[name]
settings.Settings.model_config["env_file"] = None

#: The space that the temporary folders of a whole test run may take.
ROOM_BYTES = 6 * 2**30


def keep_temporary_folders_in_memory() -> None:
    """Keeps temporary folders in memory if there is room, as flushing files to a disk would slow the tests."""
    memory = Path("/dev/shm")
    usable = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM_BYTES
    if usable and "TMPDIR" not in os.environ:
        os.environ["TMPDIR"] = str(memory)
        tempfile.tempdir = None


keep_temporary_folders_in_memory()

gc.set_threshold(20_000)  # the garbage collector runs less often

# The default number of examples, without a deadline: a busy machine may take long for an example.
property_settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
property_settings.load_profile("patient")

# Models are tiny and several tests run at once: more threads, or threads that spin while they wait, would slow them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# MKL chooses its kernels by the processor unless this is set. Their sums differ in the last digit, and a bound on the
# parity with TRL would hold on some processors only.
os.environ.setdefault("MKL_CBWR", "COMPATIBLE")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Assigns all tests of a file to one process of pytest-xdist, so that their shared fixtures are prepared once.

    The tests of the stack, one long group over several files, come first, so that no process waits for them at the end.
    """
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0].replace("/", ".")))
    items.sort(key=lambda item: "stack" not in {mark.args[0] for mark in item.iter_markers("xdist_group") if mark.args})


def pytest_collection_finish(session: pytest.Session) -> None:
    """Stops a worker of pytest-xdist whose tests have no group in their ids: several stacks would run at once.

    Hides what was imported from the garbage collector, which would search it again and again.
    """
    gc.freeze()
    if getattr(session.config.option, "loadgroup", False) and not all("@" in item.nodeid for item in session.items):
        raise pytest.UsageError(
            "This pytest-xdist does not group tests with this pytest: see `pytest` in pyproject.toml."
        )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Removes the files of interrupted workers, which could not clean up."""
    if not hasattr(session.config, "workerinput"):
        services.sweep()


@dataclass(frozen=True)
class Servers:
    """The environment that a Thumbwheel process needs to use the test servers."""

    database_url: str
    redis_url: str
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "THUMBWHEEL_DATABASE_URL": self.database_url,
            "THUMBWHEEL_REDIS_URL": self.redis_url,
            "THUMBWHEEL_DATA_DIR": str(self.folder / "data"),
            "THUMBWHEEL_BASE_MODELS": "on_workers",  # most tests name a folder that is never loaded
        }


def forget_settings() -> None:
    """Clears the cached settings and the connections made from them, so that the next use reads the environment."""
    app_database.forget_connections()
    logged.close()
    for cached in (settings.current, outbox.sender):
        cached.cache_clear()


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """An empty Postgres and an empty Valkey. The environment of this process points to them."""
    with ExitStack() as stack:
        folder = stack.enter_context(services.temporary())
        database = stack.enter_context(services.embedded_postgres(folder / "postgres", durable=False))
        broker = stack.enter_context(services.embedded_valkey(folder / "valkey", durable=False))
        running = Servers(database.url, broker.url, folder)
        os.environ.update(running.environment)
        forget_settings()
        yield running
        for name in running.environment:
            del os.environ[name]
        forget_settings()


@pytest.fixture(scope="session")
def migrated(servers: Servers) -> Servers:
    """The servers with every table of the newest migration."""
    command.upgrade(configuration(), "head")
    return servers


@pytest.fixture(scope="session")
def empty(migrated: Servers) -> Iterator[Emptying]:
    """Empties the servers at each call."""
    with closing(Emptying(migrated.database_url, migrated.redis_url)) as emptying:
        yield emptying


@pytest.fixture
def database(migrated: Servers, empty: Emptying) -> Iterator[str]:
    """The URL of a database with empty tables, which `app.database` uses. It and Valkey are emptied after the test."""
    yield migrated.database_url
    empty()


@pytest.fixture(scope="session")
def stack() -> Iterator["Stack"]:
    """The whole stack on free ports, with quick ticks and an admin key: API, worker and beat as separate processes.

    Tests that use it need ``pytestmark = pytest.mark.xdist_group("stack")``, so that one worker runs all of them on one
    stack.
    """
    from app.cli.stack import running  # only tests of the stack need all of its parts

    with services.temporary() as folder, (folder / "lines.log").open("w") as lines:
        chosen = settings.Settings(
            data_dir=folder / "data", port=0, database_url=None, redis_url=None, tick_seconds=1, lease_seconds=10,
            base_models="on_workers", webhooks_allow_private=True,
        )  # fmt: skip
        with running(chosen, lambda name, line: print(name, "|", line, file=lines, flush=True), durable=False) as stack:
            yield stack


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real event files and small models. Tests are skipped if it is not next to the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip("there is no folder shared/data next to the checkout: this test needs its real files")
    return SHARED_DATA


@pytest.fixture(scope="session")
def python() -> str:
    """The Python interpreter for processes that a test starts."""
    return sys.executable
