"""Splits a stream of server-sent events into lines. Pure."""

MOST_LINE_BYTES = 8 * 2**20
DATA, DONE = b"data:", b"[DONE]"


class LineTooLong(ValueError):
    pass


class EventLines:
    """Collects the bytes of a stream and gives its complete lines, without blank ones."""

    def __init__(self) -> None:
        self._rest = b""

    def lines(self, received: bytes) -> list[bytes]:
        """Returns the lines that `received` completes. Raises `LineTooLong`."""
        *complete, self._rest = (self._rest + received).split(b"\n")
        if len(self._rest) > MOST_LINE_BYTES:
            raise LineTooLong
        return [line for line in (line.rstrip(b"\r") for line in complete) if line]

    def end(self) -> list[bytes]:
        """Returns the last line if the stream ended in the middle of it."""
        line, self._rest = self._rest.rstrip(b"\r"), b""
        return [line] if line else []


def data_of(line: bytes) -> bytes | None:
    """Returns the data of a line, None for a comment or another field."""
    return line[len(DATA) :].strip() if line.startswith(DATA) else None


def event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"
