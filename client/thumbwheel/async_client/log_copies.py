# Written by tools/async_client.py from ../client/log_copies.py: change that file, then run `make async-client`.
"""`AsyncLogCopies`: the log and the labels as files, and rows of another log."""

from pathlib import Path

from thumbwheel import wire
from thumbwheel.async_client.http import AsyncHttp
from thumbwheel.client.retry_rules import if_safe
from thumbwheel.errors import successful


class AsyncLogCopies:
    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def end(self) -> wire.LogEnd:
        """Returns the watermark, up to which the log no longer grows."""
        return await self._http.get(wire.LogEnd, "/v1/log")

    async def page(self, kind: wire.LogKind, *, after: int, until: int) -> bytes:
        """Returns the rows after position `after` up to the watermark `until`, in the order of the log: the first few
        thousand as JSON lines, none at the end.
        """
        parameters = {"after": str(after), "until": str(until)}
        return (await self._http.send("GET", f"/v1/log/{kind}", parameters=parameters, safe=True)).content

    async def copy_in(self, lines: bytes) -> wire.CopyReceipt:
        """Stores rows of another log, as `page` returns them, with their positions and times of receipt."""
        answer = await self._http.send("POST", "/v1/log", lines=lines, safe=True)
        return wire.CopyReceipt.model_validate(answer.json())

    async def labels(self, target: Path, *, watermark: int | None = None) -> None:
        """Writes the label of every completion to `target`, as JSON lines, from the feedback up to `watermark`. A
        broken download is begun again.
        """
        parameters = {} if watermark is None else {"watermark": str(watermark)}

        async def fetch() -> None:
            response = await self._http.open(self._http.request("GET", "/v1/labels", parameters=parameters))
            try:
                if not response.is_success:
                    await response.aread()
                successful(response)
                with target.open("wb") as file:
                    async for chunk in response.aiter_bytes():
                        file.write(chunk)
            finally:
                await response.aclose()

        await self._http.retries.call(self._http.url, fetch, if_safe)
