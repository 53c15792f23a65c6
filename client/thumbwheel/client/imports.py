"""`Imports`: files of feedback that the server imports in the background."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from thumbwheel import wire
from thumbwheel.client.http import Http
from thumbwheel.client.retry_rules import if_safe
from thumbwheel.errors import successful

PIECE_BYTES = 1 << 18
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 2.0


class Imports:
    def __init__(self, http: Http) -> None:
        self._http = http

    def upload(
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

        def send() -> wire.Import:
            content = _pieces(file, progress)
            request = self._http.request("POST", "/v1/imports", parameters=parameters, content=content, headers=headers)
            response = self._http.open(request)
            try:
                response.read()
                return wire.Import.model_validate_json(successful(response).content)
            finally:
                response.close()

        return self._http.retries.call(self._http.url, send, if_safe)

    def list(self) -> Iterator[wire.Import]:
        """Yields the imports, newest first, without the outcome of each file."""
        return self._http.pages(wire.Import, "/v1/imports")

    def get(self, import_id: UUID) -> wire.Import:
        """Returns state, progress and counts of an import, and the outcome of each file."""
        return self._http.get(wire.Import, f"/v1/imports/{import_id}")

    def follow(self, import_id: UUID) -> Iterator[wire.Import]:
        """Yields the import again and again, until it has ended."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            shown = self.get(import_id)
            yield shown
            if shown.state in wire.ENDED_IMPORTS:
                return
            self._http.retries.sleep(pause)
            pause = min(1.5 * pause, LONGEST_PAUSE_SECONDS)

    def wait(self, import_id: UUID) -> wire.Import:
        """Waits for the end of an import and returns it."""
        last = self.get(import_id)
        for shown in self.follow(import_id):
            last = shown
        return last

    def rejects(self, import_id: UUID) -> Iterator[dict[str, Any]]:
        """Yields the rejected records: file, number and reason of each."""
        response = self._http.open(self._http.request("GET", f"/v1/imports/{import_id}/rejects"))
        try:
            if not response.is_success:
                response.read()
            successful(response)
            for line in response.iter_lines():
                yield json.loads(line)
        finally:
            response.close()

    def cancel(self, import_id: UUID) -> wire.Import:
        """Ends an import; what is stored stays."""
        return self._http.call(wire.Import, "POST", f"/v1/imports/{import_id}/cancel", safe=True)

    def delete(self, import_id: UUID) -> None:
        """Deletes the report of an import that has ended."""
        self._http.send("DELETE", f"/v1/imports/{import_id}", safe=True)


def _pieces(file: Path, progress: Callable[[int], None]) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while piece := opened.read(PIECE_BYTES):
            yield piece
            progress(len(piece))
