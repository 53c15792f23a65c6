"""Streams of OpenAI's clients that pass every chunk on as it is, and register the answer at its end.

An answer whose stream is closed, or dropped, before its end is registered as far as it came, with the finish reason
`client_closed`; one whose stream breaks, with `target_cut`: as the gateway does. A cancelled task drops its stream.
"""

from types import TracebackType
from typing import Any, Self

from thumbwheel.openai_calls.observed_call import ObservedCall


class _Stream:
    """The stream with another behaviour of its iterator; everything else is its own."""

    def __init__(self, stream: Any, call: ObservedCall) -> None:
        self._stream, self._call = stream, call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __del__(self) -> None:
        self._call.end("client_closed")

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # isinstance(stream, openai.Stream) stays true
        return type(self._stream)


class ObservedStream(_Stream):
    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            chunk = next(self._stream)
        except StopIteration:
            self._call.end()
            raise
        except Exception:
            self._call.end("target_cut")
            raise
        self._call.add(chunk)
        return chunk

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._call.end("client_closed")
        self._stream.close()


class AsyncObservedStream(_Stream):
    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            chunk = await anext(self._stream)
        except StopAsyncIteration:
            self._call.end()
            raise
        except Exception:
            self._call.end("target_cut")
            raise
        self._call.add(chunk)
        return chunk

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        self._call.end("client_closed")
        await self._stream.close()
