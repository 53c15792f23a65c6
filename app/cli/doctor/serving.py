"""Check of the serving targets: that each serves the live checkpoint of its project, and the canary."""

from app.cli.doctor.finding import Finding
from app.settings import Settings

SHOWN = 5


def targets(config: Settings) -> Finding:
    """Checks that no target has differed from the ledger for long."""
    from app.database import transaction
    from app.serving import service as serving

    if config.database_url is None:
        return Finding("Serving targets", "note", "not checked: Postgres is not running")
    with transaction() as session:
        count, alarms = serving.alarming(session)
    if not alarms:
        return Finding("Serving targets", "ok", f"{count} enabled, none has differed from its ledger for long")
    parts = [f"{target.project}: {serving.alarm_of(target)}" for target in alarms[:SHOWN]]
    more = f" (and {len(alarms) - SHOWN} more)" if len(alarms) > SHOWN else ""
    return Finding("Serving targets", "wrong", f"{'; '.join(parts)}{more}")
