"""`thumbwheel migrate`: bring the tables of the database to those of this code."""

import typer
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from app import settings
from app.services.programs import package_folder


def configuration() -> Config:
    """Alembic's configuration, wherever the package `migrations` is installed."""
    folder = package_folder("migrations")
    assert folder is not None, "migrations are installed with the app"
    chosen = Config()
    chosen.set_main_option("script_location", str(folder).replace("%", "%%"))
    return chosen


def newest() -> str | None:
    return ScriptDirectory.from_config(configuration()).get_current_head()


def revision_of(database_url: str) -> str | None:
    """The migration at which the database is; None where it has no tables of ours."""
    engine = create_engine(database_url)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


def migrate() -> None:
    """Bring the database of THUMBWHEEL_DATABASE_URL to the newest tables."""
    url = settings.current().need_database()
    before = revision_of(url)
    command.upgrade(configuration(), "head")
    after = newest()
    typer.echo(f"The tables are at {after}." if before == after else f"The tables went from {before} to {after}.")
