"""`thumbwheel migrate`: migrates the database to the tables of this code."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from app import settings
from app.errors import Unavailable

if TYPE_CHECKING:
    from alembic.config import Config


#: Number of the advisory lock for migrations: any number that nothing else uses.
MIGRATION_LOCK = 0x7477_6D31
LOCK_SECONDS, POLL_SECONDS = 600, 0.2


def configuration() -> "Config":
    """Returns Alembic's configuration for the folder where the package `migrations` is installed."""
    from alembic.config import Config

    from app.services.programs import package_folder

    folder = package_folder("migrations")
    assert folder is not None, "migrations are installed with the app"
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return config


def newest() -> str | None:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(configuration()).get_current_head()


def revision_of(database_url: str) -> str | None:
    """Returns the revision of the database, None if it has no tables of ours."""
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import create_engine

    engine = create_engine(database_url)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


@contextmanager
def _exclusively(database_url: str) -> Iterator[None]:
    """Lets only this process migrate the database while the block lasts; others wait for their turn.

    Raises `Unavailable` if another process takes longer than `LOCK_SECONDS`.
    """
    from sqlalchemy import create_engine, text

    engine = create_engine(database_url)
    end = time.monotonic() + LOCK_SECONDS
    waiting = False
    try:
        with engine.connect() as connection:
            # No query waits for the lock: CREATE INDEX CONCURRENTLY would wait for the end of that query.
            while not connection.scalar(text(f"SELECT pg_try_advisory_lock({MIGRATION_LOCK})")):
                connection.commit()
                if not waiting:
                    typer.echo("Another process migrates this database: waiting for it.", err=True)
                    waiting = True
                if time.monotonic() > end:
                    raise Unavailable(
                        f"Another process has been migrating this database for {LOCK_SECONDS} s: wait for it, or end "
                        "it.",
                        code="migration_under_way",
                    )
                time.sleep(POLL_SECONDS)
            connection.commit()  # the lock belongs to the session and stays
            yield
    finally:
        engine.dispose()


def migrate() -> None:
    """Migrate the database of THUMBWHEEL_DATABASE_URL to the newest tables."""
    from alembic import command

    url = settings.current().need_database()
    with _exclusively(url):
        before = revision_of(url)
        command.upgrade(configuration(), "head")
    after = newest()
    typer.echo(f"The tables are at {after}." if before == after else f"The tables went from {before} to {after}.")
