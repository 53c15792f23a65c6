"""How Alembic reaches our tables and our database."""

from alembic import context
from sqlalchemy import NullPool, create_engine, text

import app.access.tables
import app.checkpoints.tables
import app.checkpoints.unknown.tables
import app.feedback.tables
import app.idempotency.tables
import app.labels.audits.tables
import app.labels.policies.tables
import app.labels.quarantine.tables
import app.labels.summaries.tables
import app.labels.tables
import app.loop.tables
import app.outbox
import app.privacy.erasures.tables
import app.privacy.vacuums.tables
import app.projects.tables
import app.releases.tables
import app.runs.tables
import app.snapshots.tables  # noqa: F401  (every table has to be known to the metadata)
from app import postgres_errors, settings
from app.database import Base


def known_to_the_models(name: str | None, kind: str, _: object) -> bool:
    """Months of the log are made as time goes by: no model names them. Nor does one name the index of an expression,
    which Alembic cannot compare.
    """
    if kind == "index":
        return name != "ix_events_project_id_rejected"
    return not (kind == "table" and name is not None and name.startswith("events_"))


def run() -> None:
    engine = create_engine(settings.current().need_database(), poolclass=NullPool, hide_parameters=True)
    postgres_errors.hide_values_of(engine)
    with engine.connect() as connection:
        # A migration that waits for a lock makes every query behind it wait, too: better fail and be run again.
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
