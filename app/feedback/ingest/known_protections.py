"""Remembers the settings on redaction and actors of each project that has any, for the intake of one process.

What is remembered may be out of date at any moment. So nothing is stored by it alone: the transaction names the version
that its rows were made by, and Postgres refuses it if there is a newer one. Then the settings are read again, and the
rows are made again. A change needs no announcement, and holds everywhere once it is committed.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import asyncpg

from app.errors import Unavailable
from app.feedback.ingest.entries import IngestEntry
from app.feedback.ingest.protected import ProtectedEntry, protected
from app.projects.protection.service import MOST_VERSIONS, protection
from app.projects.protection.setting import ProjectProtection, Protection

#: Bodies with more characters than this are read in a thread, so that other requests are answered meanwhile.
FEW_CHARACTERS = 4000
_NOTHING = ProjectProtection()

_VERSIONS = """
    SELECT id, mode, kinds, hashes_actors, (SELECT fingerprint FROM pseudonym_key) AS fingerprint
    FROM protections WHERE project_id = $1 ORDER BY number DESC LIMIT $2
"""


class KnownProtections:
    """The settings by project; used inside one event loop."""

    def __init__(self) -> None:
        self._known: dict[str, ProjectProtection] = {}

    def of(self, project: str) -> ProjectProtection:
        return self._known.get(project, _NOTHING)

    def version(self, project: str) -> UUID | None:
        """Returns the id of the newest known version, None for a project without any."""
        known = self._known.get(project)
        return None if known is None else known.newest.id

    async def read(self, connection: asyncpg.Connection, projects: Iterable[str]) -> None:
        """Reads the settings of these projects."""
        for project in sorted(set(projects)):
            rows = await connection.fetch(_VERSIONS, project, MOST_VERSIONS)
            if rows:
                versions = [
                    Protection(row["id"], row["mode"], frozenset(row["kinds"]), row["hashes_actors"]) for row in rows
                ]
                self._known[project] = protection(project, versions, rows[0]["fingerprint"])
            else:
                self._known.pop(project, None)

    def made(self, entries: Sequence[IngestEntry], ready: Sequence[ProtectedEntry] | None) -> bool:
        """Returns whether `ready` was made of the entries by the known settings. None: it is what was sent."""
        if ready is None:
            return not self._known or not any(entry.row[0] in self._known for entry in entries)
        return all(each.by.id == self.version(each.entry.row[0]) for each in ready)

    async def protected(self, entries: Sequence[IngestEntry]) -> list[ProtectedEntry]:
        """Returns what is stored of each entry by the known settings of its project: one version for each project."""
        known = {project: self.of(project) for project in {entry.row[0] for entry in entries}}
        works = sum(len(text) for entry in entries if entry.row[0] in self._known for text in _texts(entry))
        if works <= FEW_CHARACTERS:
            return _all_protected(entries, known)
        return await asyncio.to_thread(_all_protected, entries, known)


def _all_protected(entries: Sequence[IngestEntry], known: Mapping[str, ProjectProtection]) -> list[ProtectedEntry]:
    return [protected_by(known[entry.row[0]], entry) for entry in entries]


def protected_by(known: ProjectProtection, entry: IngestEntry) -> ProtectedEntry:
    """Returns what is stored of a body by the settings of its project."""
    newest = known.newest
    if newest.changes_feedback and known.pseudonyms is None:
        trouble = Unavailable(known.trouble or "", code="pseudonym_key")
        return ProtectedEntry(entry, newest, trouble, Counter())
    try:
        return protected(entry, newest, known.pseudonyms)
    except Unavailable as error:  # a kind that needs a library which this process does not have
        return ProtectedEntry(entry, newest, error, Counter())


def _texts(entry: IngestEntry) -> Iterable[str]:
    return (value for value in entry.row if isinstance(value, str))
