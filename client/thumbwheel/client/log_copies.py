"""`LogCopies`: the log and the labels as files, and rows of another log."""

from pathlib import Path

from thumbwheel import wire
from thumbwheel.client.http import Http
from thumbwheel.client.retry_rules import if_safe
from thumbwheel.errors import successful


class LogCopies:
    def __init__(self, http: Http) -> None:
        self._http = http

    def end(self) -> wire.LogEnd:
        """Returns the watermark, up to which the log no longer grows."""
        return self._http.get(wire.LogEnd, "/v1/log")

    def page(self, kind: wire.LogKind, *, after: int, until: int) -> bytes:
        """Returns the rows after position `after` up to the watermark `until`, in the order of the log: the first few
        thousand as JSON lines, none at the end.
        """
        parameters = {"after": str(after), "until": str(until)}
        return self._http.send("GET", f"/v1/log/{kind}", parameters=parameters, safe=True).content

    def copy_in(self, lines: bytes) -> wire.CopyReceipt:
        """Stores rows of another log, as `page` returns them, with their positions and times of receipt."""
        answer = self._http.send("POST", "/v1/log", lines=lines, safe=True)
        return wire.CopyReceipt.model_validate(answer.json())

    def labels(self, target: Path, *, watermark: int | None = None) -> None:
        """Writes the label of every completion to `target`, as JSON lines, from the feedback up to `watermark`. A
        broken download is begun again.
        """
        parameters = {} if watermark is None else {"watermark": str(watermark)}

        def fetch() -> None:
            response = self._http.open(self._http.request("GET", "/v1/labels", parameters=parameters))
            try:
                if not response.is_success:
                    response.read()
                successful(response)
                with target.open("wb") as file:
                    for chunk in response.iter_bytes():
                        file.write(chunk)
            finally:
                response.close()

        self._http.retries.call(self._http.url, fetch, if_safe)
