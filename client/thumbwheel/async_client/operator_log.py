# Written by tools/async_client.py from ../client/operator_log.py: change that file, then run `make async-client`.
"""`AsyncOperatorLog`: who did what with which key, and when."""

from collections.abc import AsyncIterator

from thumbwheel import wire
from thumbwheel.async_client.http import AsyncHttp


class AsyncOperatorLog:
    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    def list(self, project: str | None = None, operation: str | None = None) -> AsyncIterator[wire.OperatorAction]:
        """Yields the actions of operators, newest first: of one project, or of all that the key opens."""
        filters = {"project": project, "operation": operation}
        given = {name: value for name, value in filters.items() if value is not None}
        return self._http.pages(wire.OperatorAction, "/v1/audit-log", given, scoped=False)
