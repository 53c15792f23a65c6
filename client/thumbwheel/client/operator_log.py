"""`OperatorLog`: who did what with which key, and when."""

from collections.abc import Iterator

from thumbwheel import wire
from thumbwheel.client.http import Http


class OperatorLog:
    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self, project: str | None = None, operation: str | None = None) -> Iterator[wire.OperatorAction]:
        """Yields the actions of operators, newest first: of one project, or of all that the key opens."""
        filters = {"project": project, "operation": operation}
        given = {name: value for name, value in filters.items() if value is not None}
        return self._http.pages(wire.OperatorAction, "/v1/audit-log", given, scoped=False)
