"""`Snapshots`: frozen datasets and their files."""

from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote
from uuid import UUID

from thumbwheel import wire
from thumbwheel.client.downloads import download
from thumbwheel.client.http import Http
from thumbwheel.client.partial_file import inside


class Snapshots:
    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self) -> Iterator[wire.Snapshot]:
        """Yields the snapshots, redacted ones included, newest first."""
        return self._http.pages(wire.Snapshot, "/v1/snapshots")

    def get(self, snapshot_id: UUID) -> wire.SnapshotDetail:
        """Returns a snapshot with its whole manifest."""
        return self._http.get(wire.SnapshotDetail, f"/v1/snapshots/{snapshot_id}")

    def card(self, snapshot_id: UUID) -> str:
        """Returns the dataset card, as Markdown."""
        return self._http.send("GET", f"/v1/snapshots/{snapshot_id}/card", safe=True).text

    def pull(
        self,
        snapshot_id: UUID,
        folder: Path,
        *,
        paths: Collection[str] | None = None,
        progress: Callable[[str, int, int | None], None] = lambda _path, _done, _total: None,
    ) -> wire.SnapshotDetail:
        """Downloads the files of a snapshot into `folder` and verifies the SHA-256 of each.

        paths     downloads only these files
        progress  is called with a file's path, the number of bytes that have arrived, and their total if it is known

        An existing complete file is not downloaded again. Raises `Damaged` if the content is not the registered
        one, and `ApiError` 410 with `successor_id` if the snapshot was redacted.
        """
        snapshot = self.get(snapshot_id)
        for path, sha256 in snapshot.files.items():
            if paths is None or path in paths:
                url = f"/v1/snapshots/{snapshot_id}/files/{quote(path)}"
                download(self._http, url, inside(folder, path), sha256, partial(progress, path))
        return snapshot
