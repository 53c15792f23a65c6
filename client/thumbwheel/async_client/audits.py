# Written by tools/async_client.py from ../client/audits.py: change that file, then run `make async-client`.
"""`AsyncAudits`: samples of labels that people judge."""

from collections.abc import AsyncIterator
from uuid import UUID

from thumbwheel import wire
from thumbwheel.async_client.http import AsyncHttp


class AsyncAudits:
    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def start(self, new: wire.NewAudit | None = None) -> wire.Audit:
        """Draws a sample of the current labels. A large log takes longer than the default timeout."""
        return await self._http.call(wire.Audit, "POST", "/v1/audits", new or wire.NewAudit())

    def list(self) -> AsyncIterator[wire.Audit]:
        """Yields the audits, newest first."""
        return self._http.pages(wire.Audit, "/v1/audits")

    async def get(self, audit_id: UUID) -> wire.Audit:
        """Returns the audit with its results so far."""
        return await self._http.get(wire.Audit, f"/v1/audits/{audit_id}")

    def items(self, audit_id: UUID, *, pending: bool = False) -> AsyncIterator[wire.AuditItem]:
        """Yields the rows in the order in which to judge them; with `pending`, only those without a verdict."""
        return self._http.pages(wire.AuditItem, f"/v1/audits/{audit_id}/items", {"pending": str(pending).lower()})

    async def give_verdict(self, audit_id: UUID, number: int, new: wire.NewAuditVerdict) -> wire.AuditItem:
        """Records whether the label of one row is right, in place of an earlier verdict."""
        path = f"/v1/audits/{audit_id}/items/{number}/verdict"
        return await self._http.call(wire.AuditItem, "PUT", path, new, safe=True)
