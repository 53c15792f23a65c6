"""Alembic's environment: our tables and our database."""

from importlib import import_module
from pathlib import Path

from alembic import context
from sqlalchemy import NullPool, create_engine, text

import app
import app.outbox  # has the only table outside of a module `tables`
from app import postgres_errors, settings
from app.database import Base

# A table is in the metadata once its module is imported.
PACKAGE = Path(app.__path__[0])
for path in sorted(PACKAGE.rglob("tables.py")):
    import_module(".".join(["app", *path.relative_to(PACKAGE).with_suffix("").parts]))


def known_to_the_models(name: str | None, kind: str, _: object) -> bool:
    """Returns whether Alembic should compare an object with the models.

    The log's monthly partitions have no models. Alembic cannot compare the index of an expression.
    """
    if kind == "index":
        return name != "ix_events_project_id_rejected"
    return not (kind == "table" and name is not None and name.startswith("events_"))


def run() -> None:
    engine = create_engine(settings.current().need_database(), poolclass=NullPool, hide_parameters=True)
    postgres_errors.hide_values_of(engine)
    with engine.connect() as connection:
        # A migration that waits for a lock blocks every query behind it: it fails instead, and can be run again.
        connection.execute(text("SET lock_timeout = '10s'"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            compare_type=True,
            include_name=known_to_the_models,
        )
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run()
