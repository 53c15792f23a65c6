"""`Audits`: samples of labels that people judge."""

from collections.abc import Iterator
from uuid import UUID

from thumbwheel import wire
from thumbwheel.client.http import Http


class Audits:
    def __init__(self, http: Http) -> None:
        self._http = http

    def start(self, new: wire.NewAudit | None = None) -> wire.Audit:
        """Draws a sample of the current labels. A large log takes longer than the default timeout."""
        return self._http.call(wire.Audit, "POST", "/v1/audits", new or wire.NewAudit())

    def list(self) -> Iterator[wire.Audit]:
        """Yields the audits, newest first."""
        return self._http.pages(wire.Audit, "/v1/audits")

    def get(self, audit_id: UUID) -> wire.Audit:
        """Returns the audit with its results so far."""
        return self._http.get(wire.Audit, f"/v1/audits/{audit_id}")

    def items(self, audit_id: UUID, *, pending: bool = False) -> Iterator[wire.AuditItem]:
        """Yields the rows in the order in which to judge them; with `pending`, only those without a verdict."""
        return self._http.pages(wire.AuditItem, f"/v1/audits/{audit_id}/items", {"pending": str(pending).lower()})

    def give_verdict(self, audit_id: UUID, number: int, new: wire.NewAuditVerdict) -> wire.AuditItem:
        """Records whether the label of one row is right, in place of an earlier verdict."""
        path = f"/v1/audits/{audit_id}/items/{number}/verdict"
        return self._http.call(wire.AuditItem, "PUT", path, new, safe=True)
