"""`thumbwheel migrate`: bring the tables of the database to those of this code."""

from typing import TYPE_CHECKING

import typer

from app import settings

if TYPE_CHECKING:
    from alembic.config import Config


def configuration() -> "Config":
    """Alembic's configuration, wherever the package `migrations` is installed."""
    from alembic.config import Config

    from app.services.programs import package_folder

    folder = package_folder("migrations")
    assert folder is not None, "migrations are installed with the app"
    chosen = Config()
    chosen.set_main_option("script_location", str(folder).replace("%", "%%"))
    return chosen


def newest() -> str | None:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(configuration()).get_current_head()


def revision_of(database_url: str) -> str | None:
    """The migration at which the database is; None where it has no tables of ours."""
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import create_engine

    engine = create_engine(database_url)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


def migrate() -> None:
    """Bring the database of THUMBWHEEL_DATABASE_URL to the newest tables."""
    from alembic import command

    url = settings.current().need_database()
    before = revision_of(url)
    command.upgrade(configuration(), "head")
    after = newest()
    typer.echo(f"The tables are at {after}." if before == after else f"The tables went from {before} to {after}.")
