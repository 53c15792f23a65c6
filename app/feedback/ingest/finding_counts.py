"""Writes how often personal data of each kind was found into Postgres, on the connection of a writer of the intake."""

import logging
from collections import Counter
from time import monotonic

import asyncpg

from app import postgres_errors

log = logging.getLogger(__name__)

#: The shortest time between two writings: under load, a row would be written again and again.
SECONDS = 1.0
#: Project, mode and kind.
FindingKey = tuple[str, str, str]

_ADD = """
    INSERT INTO redaction_findings AS known (project_id, mode, kind, findings, last_at)
    SELECT project_id, mode, kind, number, now()
    FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS found (project_id, mode, kind, number)
    ORDER BY project_id, mode, kind
    ON CONFLICT (project_id, mode, kind)
    DO UPDATE SET findings = known.findings + EXCLUDED.findings, last_at = EXCLUDED.last_at
"""


class FindingCounts:
    """The counts of one process that are not in Postgres yet. A process that is killed loses them."""

    def __init__(self) -> None:
        self._waiting: Counter[FindingKey] = Counter()
        self._written_at = -SECONDS

    def add(self, found: Counter[FindingKey]) -> None:
        self._waiting += found

    async def write(self, connection: asyncpg.Connection, *, last: bool = False) -> None:
        """Adds the counts to those in Postgres, if some time has passed since, or if it is the last time."""
        if not self._waiting or not (last or monotonic() - self._written_at >= SECONDS):
            return
        waiting, self._waiting, self._written_at = self._waiting, Counter(), monotonic()
        keys = sorted(waiting)
        columns = [list(column) for column in zip(*keys, strict=True)]
        try:
            await connection.execute(_ADD, *columns, [waiting[key] for key in keys])
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            self._waiting += waiting
            log.warning("counts of findings are not written yet: %s", postgres_errors.without_values(error))
