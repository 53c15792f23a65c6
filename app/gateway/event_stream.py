"""Splits a stream of server-sent events into lines. Pure."""

MOST_LINE_BYTES = 8 * 2**20
DATA, DONE = b"data:", b"[DONE]"


class LineTooLong(ValueError):
    pass


class EventLines:
    """Collects the bytes of a stream and gives its complete lines, without blank ones."""

    def __init__(self) -> None:
        #: The pieces of the line that has not ended. They are joined once it ends: a long line in many small pieces is
        #: not copied with each of them.
        self._begun: list[bytes] = []
        self._size = 0

    def lines(self, received: bytes) -> list[bytes]:
        """Returns the lines that `received` completes. Raises `LineTooLong`."""
        first, *others = received.split(b"\n")
        complete = []
        self._begin(first)
        for rest in others:
            complete += self.end()
            self._begin(rest)
        return complete

    def end(self) -> list[bytes]:
        """Returns the line that has not ended, unless it is blank."""
        line = b"".join(self._begun).rstrip(b"\r")
        self._begun, self._size = [], 0
        return [line] if line else []

    def _begin(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > MOST_LINE_BYTES:
            raise LineTooLong
        if piece:
            self._begun.append(piece)


def data_of(line: bytes) -> bytes | None:
    """Returns the data of a line, None for a comment or another field."""
    return line[len(DATA) :].strip() if line.startswith(DATA) else None


def event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"
