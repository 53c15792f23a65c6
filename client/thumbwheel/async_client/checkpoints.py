# Written by tools/async_client.py from ../client/checkpoints.py: change that file, then run `make async-client`.
"""`AsyncCheckpoints`: registered weights, their files, and the thumbs that they get."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from urllib.parse import quote
from uuid import UUID

from thumbwheel import wire
from thumbwheel.async_client.downloads import download
from thumbwheel.async_client.http import AsyncHttp
from thumbwheel.client.partial_file import inside


class AsyncCheckpoints:
    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    def list(self) -> AsyncIterator[wire.Checkpoint]:
        """Yields the checkpoints, newest first."""
        return self._http.pages(wire.Checkpoint, "/v1/checkpoints")

    async def get(self, checkpoint_id: UUID) -> wire.Checkpoint:
        return await self._http.get(wire.Checkpoint, f"/v1/checkpoints/{checkpoint_id}")

    async def card(self, checkpoint_id: UUID) -> str:
        """Returns the card as Markdown, with every override of the gates in the ledger."""
        return (await self._http.send("GET", f"/v1/checkpoints/{checkpoint_id}/card", safe=True)).text

    async def pull(self, checkpoint_id: UUID, folder: Path) -> wire.Checkpoint:
        """Downloads the files of a checkpoint into `folder` and verifies the SHA-256 of each.

        An existing complete file is not downloaded again. Raises `Damaged` if the content is not the registered one.
        """
        checkpoint = await self.get(checkpoint_id)
        for path, sha256 in checkpoint.files.items():
            url = f"/v1/checkpoints/{checkpoint_id}/files/{quote(path)}"
            await download(self._http, url, inside(folder, path), sha256)
        return checkpoint

    def samples(
        self, checkpoint_id: UUID, *, source: str | None = None, suite: str | None = None, decoding: str | None = None
    ) -> AsyncIterator[wire.PromptSamples]:
        """Yields what the checkpoint, the shipped one and the first base model wrote, prompt by prompt.

        source    only prompts of this source: holdout, suite, disliked or liked
        suite     only prompts of the suite with this name
        decoding  only replies of this decoding: greedy or sampled
        """
        wanted = {"source": source, "suite": suite, "decoding": decoding}
        chosen = {name: value for name, value in wanted.items() if value is not None}
        return self._http.pages(wire.PromptSamples, f"/v1/checkpoints/{checkpoint_id}/samples", chosen)

    def suite_outcomes(self, checkpoint_id: UUID, suite: str) -> AsyncIterator[wire.SuiteOutcome]:
        """Yields what candidate, shipped checkpoint and base model wrote for each test of a suite, with verdicts."""
        path = f"/v1/checkpoints/{checkpoint_id}/suites/{quote(suite, safe='')}"
        return self._http.pages(wire.SuiteOutcome, path)

    async def approvals(self) -> Sequence[wire.Approval]:
        """Returns the thumbs per checkpoint."""
        return [
            wire.Approval.model_validate(item)
            for item in (await self._http.send("GET", "/v1/approvals", safe=True)).json()
        ]
