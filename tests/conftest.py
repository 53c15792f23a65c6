"""Real servers for the tests: a Postgres and a Valkey per worker of pytest-xdist, on free ports, gone afterwards."""

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
from tests.emptied import Emptying

if TYPE_CHECKING:
    from app.cli.stack import Stack

#: Fixtures of the API, for the `web` folder of every room.
pytest_plugins = ["tests.api_fixtures"]

ROOT = Path(__file__).parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"

# The tests say what the environment is: a developer's own settings stay out of them.
for name in [name for name in os.environ if name.startswith("THUMBWHEEL_")]:
    del os.environ[name]
settings.Settings.model_config["env_file"] = None

#: What the folders of a whole run of the tests may take.
ROOM_BYTES = 6 * 2**30


def keep_temporary_folders_in_memory() -> None:
    """Keeps temporary folders in memory where there is room: most files are flushed to the disk, as they must be, and
    tests would wait for that."""
    memory = Path("/dev/shm")
    usable = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM_BYTES
    if usable and "TMPDIR" not in os.environ:
        os.environ["TMPDIR"] = str(memory)
        tempfile.tempdir = None


keep_temporary_folders_in_memory()

# As many examples as by default, however long a busy machine takes for one.
property_settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
property_settings.load_profile("patient")

# Tiny models, several tests at once: more threads, or threads that spin while they wait, only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# The same sums on every processor: MKL chooses its kernels by it otherwise, and a bound of parity with TRL that one of
# them keeps is missed by another in the last digit.
os.environ.setdefault("MKL_CBWR", "COMPATIBLE")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves the tests of a file to one process of pytest-xdist, which prepares what they share once.

    The tests of the stack, one long group over several files, come first, so that no process waits for them at the end.
    """
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0].replace("/", ".")))
    items.sort(key=lambda item: "stack" not in {mark.args[0] for mark in item.iter_markers("xdist_group") if mark.args})


def pytest_sessionfinish(session: pytest.Session) -> None:
    """An interrupted worker cannot clean up after itself: what it left is removed here."""
    if not hasattr(session.config, "workerinput"):
        services.sweep()


@dataclass(frozen=True)
class Servers:
    """`environment` is what a process of ours needs to work on them."""

    database_url: str
    redis_url: str
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "THUMBWHEEL_DATABASE_URL": self.database_url,
            "THUMBWHEEL_REDIS_URL": self.redis_url,
            "THUMBWHEEL_DATA_DIR": str(self.folder / "data"),
            "THUMBWHEEL_BASE_MODELS": "on_workers",  # most tests name a folder that nobody loads
        }


def forget_settings() -> None:
    """Have the settings, and what was made of them, read again."""
    app_database.forget_connections()
    for cached in (settings.current, outbox.sender):
        cached.cache_clear()


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """An empty Postgres and an empty Valkey; the environment of this process points at them."""
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
    """The URL of a database with empty tables; `app.database` works on it. Emptied after the test, as is Valkey."""
    yield migrated.database_url
    empty()


@pytest.fixture(scope="session")
def stack() -> Iterator["Stack"]:
    """The whole thing on free ports, with quick ticks and an admin key: API, worker and beat as processes of their own.

    Tests that use it want ``pytestmark = pytest.mark.xdist_group("stack")``: one worker runs them all on one stack.
    """
    from app.cli.stack import running  # only who asks for the stack needs every part of it

    with services.temporary() as folder, (folder / "lines.log").open("w") as lines:
        chosen = settings.Settings(
            data_dir=folder / "data", port=0, database_url=None, redis_url=None, tick_seconds=1, lease_seconds=10,
            base_models="on_workers",
        )  # fmt: skip
        with running(chosen, lambda name, line: print(name, "|", line, file=lines, flush=True), durable=False) as stack:
            yield stack


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real files of events and small models, where they lie beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip("there is no folder shared/data beside the checkout: this test needs its real files")
    return SHARED_DATA


@pytest.fixture(scope="session")
def python() -> str:
    """The interpreter for processes that a test starts."""
    return sys.executable
