"""Equal feedback gives equal snapshots in another database, in another order, and after a killed build."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha512
from pathlib import Path
from time import monotonic

import psycopg
import pytest
from alembic import command
from psycopg import sql

from app import database as app_database
from app.cli.migrate import configuration
from benchmarks.labels.logs import fill
from benchmarks.labels.work import PROJECT
from tests.bare_project import CONFIGURATION
from tests.conftest import forget_settings
from tests.snapshots.building import build

ROOT = Path(__file__).parents[3]
EVENTS = 1500
TABLES = ("projects", "completions", "events", "event_ids")
MINUTE = 60.0
NULL = rb"\N"

#: The rows of each table, in the format of COPY.
Dump = dict[str, list[list[bytes]]]


@dataclass(frozen=True)
class Database:
    url: str
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"THUMBWHEEL_DATABASE_URL": self.url, "THUMBWHEEL_DATA_DIR": str(self.folder / "data")}

    def start(self, folder: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.snapshots.building", str(folder)]
        return subprocess.Popen(command, cwd=ROOT, env=os.environ | self.environment | {"PYTHONPATH": str(ROOT)})

    @contextmanager
    def used(self) -> Iterator[None]:
        """Makes `app.database` use this database during the block."""
        before = {name: os.environ[name] for name in self.environment}
        app_database.engine().dispose()
        os.environ.update(self.environment)
        forget_settings()
        try:
            yield
        finally:
            app_database.engine().dispose()
            os.environ.update(before)
            forget_settings()

    def build(self, folder: Path) -> str:
        """Builds the snapshot on this database and returns the hash of its manifest."""
        with self.used():
            return build(folder).files["manifest.json"]

    def snapshots(self) -> list[str]:
        with psycopg.connect(self.url) as connection:
            return [sha256 for (sha256,) in connection.execute("SELECT sha256 FROM snapshots")]


@pytest.fixture(scope="module")
def databases(servers, tmp_path_factory) -> Iterator[Callable[[], Database]]:
    """Yields a function that creates a database with empty tables."""
    names: list[str] = []
    owner = app_database.engine().url.render_as_string(hide_password=False).replace("+psycopg", "")

    def make() -> Database:
        name = f"restored_{len(names)}"
        template = sql.Identifier(names[0]) if names else sql.Identifier("template1")
        with psycopg.connect(owner, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), template))
        database = Database(owner.rpartition("/")[0] + f"/{name}", tmp_path_factory.mktemp(name))
        if not names:
            with database.used():
                command.upgrade(configuration(), "head")
        names.append(name)
        return database

    make()  # the other databases are copies of it
    yield make
    with psycopg.connect(owner, autocommit=True) as connection:
        for name in names:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def original(databases) -> Database:
    database = databases()
    with psycopg.connect(database.url) as connection:
        connection.execute(
            "INSERT INTO projects (id, base_model, configuration, created_at) VALUES (%s, '/models/base', %s, now())",
            [PROJECT, json.dumps(CONFIGURATION)],
        )
    fill(database.url, PROJECT, EVENTS)
    return database


@pytest.fixture(scope="module")
def hash_of_original(original) -> str:
    return original.build(original.folder / "snapshot")


def dumped(database: Database) -> Dump:
    with psycopg.connect(database.url) as connection, connection.cursor() as cursor:
        tables: Dump = {}
        for table in TABLES:
            with cursor.copy(f"COPY (SELECT * FROM {table}) TO STDOUT") as copy:
                tables[table] = [line.split(b"\t") for line in b"".join(copy).splitlines()]
        return tables


def restore(dump: Dump, database: Database) -> None:
    with psycopg.connect(database.url) as connection, connection.cursor() as cursor:
        for table, rows in dump.items():
            with cursor.copy(f"COPY {table} FROM STDIN") as copy:
                copy.write(b"".join(b"\t".join(row) + b"\n" for row in rows))


def columns(database: Database, table: str) -> list[str]:
    with psycopg.connect(database.url) as connection:
        return [column.name for column in connection.execute(f"SELECT * FROM {table} LIMIT 0").description or ()]


@pytest.mark.trial
def test_a_restored_database_gives_the_same_snapshot(databases, original, hash_of_original):
    restored = databases()
    restore(dumped(original), restored)

    assert restored.build(restored.folder / "snapshot") == hash_of_original


def test_rows_that_lie_in_another_order_give_the_same_snapshot(databases, original, hash_of_original):
    dump, rng = dumped(original), random.Random(3)
    for rows in dump.values():
        rng.shuffle(rows)
    other = databases()
    restore(dump, other)

    assert other.build(other.folder / "snapshot") == hash_of_original


def test_events_that_arrived_in_another_order_give_the_same_snapshot(databases, original):
    """The prompts differ widely here, as the first of several nearly equal prompts leads their group permanently."""
    dump, rng = dumped(original), random.Random(3)
    names = {table: columns(original, table) for table in ("events", "event_ids")}
    prompt, event_id, position, checkpoint = (
        names["events"].index(name) for name in ("prompt", "event_id", "position", "checkpoint_id")
    )
    for row in dump["events"]:
        row[checkpoint] = NULL  # the log of the benchmark has several for a completion
        if row[prompt] != NULL:
            row[prompt] = (
                b'"'
                + b" ".join(sha512(row[prompt]).hexdigest()[at : at + 8].encode() for at in range(0, 128, 8))
                + b'"'
            )
    one = databases()
    restore(dump, one)

    positions = [row[position] for row in dump["events"]]
    rng.shuffle(positions)
    moved = {row[event_id]: place for row, place in zip(dump["events"], positions, strict=True)}
    for table, rows in ((table, dump[table]) for table in names):
        at, of = names[table].index("position"), names[table].index("event_id")
        for row in rows:
            row[at] = moved[row[of]]
    other = databases()
    restore(dump, other)

    assert other.build(other.folder / "snapshot") == one.build(one.folder / "snapshot")


def test_one_event_more_is_another_snapshot(databases, original, hash_of_original):
    longer = databases()
    restore(dumped(original), longer)
    with psycopg.connect(longer.url) as connection:
        connection.execute(
            """
            INSERT INTO events (project_id, event_id, completion_id, actor, signal, prompt, completion, metadata,
                                position, received_at)
            SELECT project_id, 'one-more', 'one-more', 'somebody', '{"kind": "thumbs", "value": "up"}', '"Why?"', 'So.',
                   '{}', (SELECT max(position) FROM events) + 1, received_at
            FROM events LIMIT 1
            """
        )

    assert longer.build(longer.folder / "snapshot") != hash_of_original


def until(what: Callable[[], object]) -> None:
    end = monotonic() + MINUTE
    while not what():
        assert monotonic() < end, "the condition did not become true within a minute"


@pytest.mark.trial
def test_a_killed_build_leaves_nothing_that_is_seen_and_the_next_gives_the_same(databases, original, hash_of_original):
    database = databases()
    restore(dumped(original), database)
    folder = database.folder / "work" / "snapshot"

    # The first build is killed while it writes.
    process = database.start(folder)
    until(lambda: process.poll() is not None or list(folder.parent.glob(".snapshot.part/*.parquet")))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode != 0, "the build ended before it was killed"
    assert not folder.exists()
    assert database.snapshots() == []

    # The second build is killed after it has written everything and waits to register the snapshot.
    with psycopg.connect(database.url) as connection:
        connection.execute("SELECT FROM projects FOR NO KEY UPDATE")
        process = database.start(folder)
        until(folder.exists)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert database.snapshots() == []

    assert database.build(folder) == hash_of_original
    assert database.snapshots() == [hash_of_original]
    assert [path.name for path in folder.parent.iterdir()] == ["snapshot"]
