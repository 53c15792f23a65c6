# Written by tools/async_client.py from ../client/imports.py: change that file, then run `make async-client`.
"""`AsyncImports`: files of feedback that the server imports in the background."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from thumbwheel import wire
from thumbwheel.async_client.http import AsyncHttp
from thumbwheel.client.retry_rules import if_safe
from thumbwheel.errors import successful

PIECE_BYTES = 1 << 18
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 2.0


class AsyncImports:
    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def upload(
        self,
        file: Path,
        options: wire.ImportOptions | None = None,
        *,
        name: str | None = None,
        dry_run: bool = False,
        restart: bool = False,
        progress: Callable[[int], None] = lambda _size: None,
    ) -> wire.Import:
        """Uploads a file, which the server then imports. The same file with the same options is one import, so a
        broken upload is sent again.

        name      of the file, for messages
        restart   imports the file again, even if it was imported
        progress  called with the bytes that were sent since the last call
        """
        chosen = {} if options is None else options.model_dump(exclude_none=True)
        parameters = {"name": name or file.name, **chosen}
        parameters |= {flag: "true" for flag, on in (("dry_run", dry_run), ("restart", restart)) if on}
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(file.stat().st_size)}

        async def send() -> wire.Import:
            content = _pieces(file, progress)
            request = self._http.request("POST", "/v1/imports", parameters=parameters, content=content, headers=headers)
            response = await self._http.open(request)
            try:
                await response.aread()
                return wire.Import.model_validate_json(successful(response).content)
            finally:
                await response.aclose()

        return await self._http.retries.call(self._http.url, send, if_safe)

    def list(self) -> AsyncIterator[wire.Import]:
        """Yields the imports, newest first, without the outcome of each file."""
        return self._http.pages(wire.Import, "/v1/imports")

    async def get(self, import_id: UUID) -> wire.Import:
        """Returns state, progress and counts of an import, and the outcome of each file."""
        return await self._http.get(wire.Import, f"/v1/imports/{import_id}")

    async def follow(self, import_id: UUID) -> AsyncIterator[wire.Import]:
        """Yields the import again and again, until it has ended."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            shown = await self.get(import_id)
            yield shown
            if shown.state in wire.ENDED_IMPORTS:
                return
            await self._http.retries.sleep(pause)
            pause = min(1.5 * pause, LONGEST_PAUSE_SECONDS)

    async def wait(self, import_id: UUID) -> wire.Import:
        """Waits for the end of an import and returns it."""
        last = await self.get(import_id)
        async for shown in self.follow(import_id):
            last = shown
        return last

    async def rejects(self, import_id: UUID) -> AsyncIterator[dict[str, Any]]:
        """Yields the rejected records: file, number and reason of each."""
        response = await self._http.open(self._http.request("GET", f"/v1/imports/{import_id}/rejects"))
        try:
            if not response.is_success:
                await response.aread()
            successful(response)
            async for line in response.aiter_lines():
                yield json.loads(line)
        finally:
            await response.aclose()

    async def cancel(self, import_id: UUID) -> wire.Import:
        """Ends an import; what is stored stays."""
        return await self._http.call(wire.Import, "POST", f"/v1/imports/{import_id}/cancel", safe=True)

    async def delete(self, import_id: UUID) -> None:
        """Deletes the report of an import that has ended."""
        await self._http.send("DELETE", f"/v1/imports/{import_id}", safe=True)


async def _pieces(file: Path, progress: Callable[[int], None]) -> AsyncIterator[bytes]:
    with file.open("rb") as opened:
        while piece := opened.read(PIECE_BYTES):
            yield piece
            progress(len(piece))
