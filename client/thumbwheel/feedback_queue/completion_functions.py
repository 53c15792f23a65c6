"""The decorator that registers what a function of the product returns as a completion of its prompt."""

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import suppress
from copy import copy
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar
from uuid import uuid4

from thumbwheel.context import remember_completion

P = ParamSpec("P")
R = TypeVar("R")


class Decorator(Protocol):
    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]: ...


class Register(Protocol):
    """`FeedbackQueue.complete`, as far as it is used here."""

    def __call__(self, prompt: Any, completion: Any, /, *, completion_id: str, sampling: Any = None) -> str: ...


def registering(register: Register, prompt: str | None, completion_id: str | None) -> Decorator:
    """Returns the decorator; see `FeedbackQueue.completion`."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        calls = _Calls(function, register, prompt, completion_id)
        wrapper: Any
        if inspect.isasyncgenfunction(function):
            wrapper = _asynchronous_pieces(function, calls)
        elif inspect.isgeneratorfunction(function):
            wrapper = _pieces(function, calls)
        elif inspect.iscoroutinefunction(function):
            wrapper = _coroutine(function, calls)
        else:
            wrapper = _plain(function, calls)
        decorated: Callable[P, R] = wraps(function)(wrapper)
        return decorated

    return decorate


class _Calls:
    """Reads prompt and id from the arguments of a function's calls."""

    def __init__(
        self, function: Callable[..., Any], register: Register, prompt: str | None, completion_id: str | None
    ) -> None:
        self._signature = inspect.signature(function)
        names = [name for name in self._signature.parameters if name not in ("self", "cls")]
        self._register = register
        self._prompt = prompt or (names[0] if names else "")
        self._completion_id = completion_id
        for name in (self._prompt, completion_id or self._prompt):
            if name not in names:
                raise TypeError(f"{function.__qualname__} has no parameter {name!r}: name the one with the prompt.")

    def begin(self, args: Any, kwargs: Any) -> "_Call | None":
        """Returns a call; None if the arguments are not the function's, which then says so itself."""
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError:
            return None
        bound.apply_defaults()
        name = bound.arguments[self._completion_id] if self._completion_id else None
        chosen = str(uuid4()) if name is None else str(name)
        remember_completion(chosen)
        return _Call(self._register, _copied(bound.arguments[self._prompt]), chosen)


class _Call:
    """One call. The prompt is a copy, as functions add their answer to a list of messages."""

    def __init__(self, register: Register, prompt: Any, completion_id: str) -> None:
        self._register, self._prompt, self._id = register, prompt, completion_id

    def end(self, completion: Any) -> None:
        self._register(self._prompt, completion, completion_id=self._id)

    def end_early(self, pieces: list[Any]) -> None:
        """Registers what was written until the caller took no more, if there is any."""
        if text := _joined(pieces):
            self._register(self._prompt, text, completion_id=self._id, sampling={"finish_reason": "client_closed"})


def _plain(function: Callable[..., Any], calls: _Calls) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = calls.begin(args, kwargs)
        result = function(*args, **kwargs)
        if call is not None:
            call.end(result)
        return result

    return wrapper


def _coroutine(function: Callable[..., Any], calls: _Calls) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = calls.begin(args, kwargs)
        result = await function(*args, **kwargs)
        if call is not None:
            call.end(result)
        return result

    return wrapper


def _pieces(function: Callable[..., Any], calls: _Calls) -> Callable[..., Any]:
    def observed(written: Generator[Any, Any, Any], call: _Call | None) -> Generator[Any, Any, Any]:
        pieces: list[Any] = []
        try:
            while True:
                try:
                    piece = next(written)
                except StopIteration as end:
                    value = end.value
                    break
                pieces.append(piece)
                yield piece
        except GeneratorExit:
            if call is not None:
                call.end_early(pieces)
            raise
        finally:
            written.close()
        if call is not None:
            call.end(_joined(pieces))
        return value

    return lambda *args, **kwargs: observed(function(*args, **kwargs), calls.begin(args, kwargs))


def _asynchronous_pieces(function: Callable[..., Any], calls: _Calls) -> Callable[..., Any]:
    async def observed(written: AsyncGenerator[Any, Any], call: _Call | None) -> AsyncIterator[Any]:
        pieces: list[Any] = []
        try:
            async for piece in written:
                pieces.append(piece)
                yield piece
        except GeneratorExit:
            if call is not None:
                call.end_early(pieces)
            raise
        finally:
            await written.aclose()  # else it would close at some later time, by the event loop
        if call is not None:
            call.end(_joined(pieces))

    return lambda *args, **kwargs: observed(function(*args, **kwargs), calls.begin(args, kwargs))


def _copied(prompt: Any) -> Any:
    """Returns a copy; the prompt itself if it cannot be copied, as the product's call does not depend on it."""
    with suppress(Exception):
        return copy(prompt)
    return prompt


def _joined(pieces: list[Any]) -> str:
    return "".join(piece for piece in pieces if isinstance(piece, str))
