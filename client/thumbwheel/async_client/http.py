# Written by tools/async_client.py from ../client/http.py: change that file, then run `make async-client`.
"""`AsyncHttp`: calls to the API with the key, the project and retries. The areas of the client use it."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar
from uuid import uuid4

import httpx
from pydantic import BaseModel

from thumbwheel.async_client.retries import AsyncRetries
from thumbwheel.client.retry_rules import if_never_sent, if_safe, if_safe_once
from thumbwheel.connection_settings import ConnectionSettings
from thumbwheel.errors import successful

Model = TypeVar("Model", bound=BaseModel)


class AsyncHttp:
    """A pool of connections to one API.

    project_id  the project that calls name, unless they are not `scoped`; None leaves the choice to the key
    """

    def __init__(self, settings: ConnectionSettings, *, timeout: float, retries: AsyncRetries) -> None:
        self.url = settings.url
        self.project_id = settings.project
        self.timeout = timeout
        self.retries = retries
        headers = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
        self._connections = httpx.AsyncClient(base_url=settings.url, headers=headers, timeout=timeout)

    async def close(self) -> None:
        """Closes all connections."""
        await self._connections.aclose()

    async def get(
        self, model: type[Model], path: str, parameters: Mapping[str, str] | None = None, *, scoped: bool = True
    ) -> Model:
        """Returns the object at `path`."""
        return model.model_validate(
            (await self.send("GET", path, parameters=parameters, safe=True, scoped=scoped)).json()
        )

    async def pages(
        self, model: type[Model], path: str, parameters: Mapping[str, str] | None = None, *, scoped: bool = True
    ) -> AsyncIterator[Model]:
        """Yields the items of a listing over all its pages."""
        cursor: str | None = None
        while True:
            chosen = {**(parameters or {}), **({"cursor": cursor} if cursor else {})}
            page = (await self.send("GET", path, parameters=chosen, safe=True, scoped=scoped)).json()
            for item in page["items"]:
                yield model.model_validate(item)
            cursor = page["next_cursor"]
            if cursor is None:
                return

    async def call(
        self,
        model: type[Model],
        method: str,
        path: str,
        body: BaseModel | None = None,
        *,
        safe: bool = False,
        once: bool = False,
        scoped: bool = True,
        drop_unset: bool = False,
    ) -> Model:
        """Sends `body` as JSON and returns the answer. `drop_unset` omits unset fields."""
        content = body.model_dump(mode="json", exclude_unset=drop_unset) if body is not None else None
        answer = await self.send(method, path, json=content, safe=safe, once=once, scoped=scoped)
        return model.model_validate(answer.json())

    async def send(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        lines: bytes | None = None,
        document: bytes | None = None,
        parameters: Mapping[str, str] | None = None,
        safe: bool = False,
        once: bool = False,
        scoped: bool = True,
    ) -> httpx.Response:
        """Sends a JSON value, or the bytes of JSON `lines` or of a JSON `document`, and returns the successful answer.

        Raises `ApiError` and `Unreachable`.

        A call is repeated only if it cannot have reached the API, unless it is declared as repeatable:

        safe  a second call changes nothing
        once  adds an Idempotency-Key, with which the API carries the call out a single time
        """
        headers = {}
        if lines is not None or document is not None:
            headers["Content-Type"] = "application/json" if lines is None else "application/x-ndjson"
        if once:
            headers["Idempotency-Key"] = f'"{uuid4()}"'
        content = document if lines is None else lines
        request = self.request(
            method, path, parameters=parameters, scoped=scoped, json=json, content=content, headers=headers
        )

        async def attempt() -> httpx.Response:
            return successful(await self._connections.send(request))

        return await self.retries.call(self.url, attempt, if_safe_once if once else if_safe if safe else if_never_sent)

    def request(
        self, method: str, path: str, *, parameters: Mapping[str, str] | None = None, scoped: bool = True, **how: Any
    ) -> httpx.Request:
        """Builds a request; `how` goes to `httpx.AsyncClient.build_request`."""
        project = {"project": self.project_id} if scoped and self.project_id else {}
        return self._connections.build_request(method, path, params={**project, **(parameters or {})}, **how)

    async def open(self, request: httpx.Request) -> httpx.Response:
        """Sends the request once and returns the answer, whose body is not read yet; the caller closes it."""
        return await self._connections.send(request, stream=True)
