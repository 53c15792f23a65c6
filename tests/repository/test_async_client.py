"""The asynchronous client is what the synchronous one gives, and has everything that it has."""

import inspect
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from thumbwheel import AsyncClient, Client

from tools import async_client


def areas(client: Any) -> dict[str, Any]:
    """Returns the areas of a client and the client itself, by their names."""
    return {"client": client} | {
        name: area for name, area in vars(client).items() if not name.startswith("_") and not isinstance(area, str)
    }


def methods(area: Any) -> dict[str, Any]:
    named = inspect.getmembers(type(area), inspect.isfunction)
    return {name: method for name, method in named if not name.startswith("_")}


@pytest.fixture(scope="module")
def both() -> tuple[dict[str, Any], dict[str, Any]]:
    with Client("http://127.0.0.1:1", "tw_x") as client:
        return areas(client), areas(AsyncClient("http://127.0.0.1:1", "tw_x"))


def test_the_files_are_those_that_the_tool_writes(tmp_path: Path):
    files = async_client.written(tmp_path)

    assert files == {path.name: path.read_text() for path in async_client.TARGET.glob("*.py")}, (
        "run `make async-client`"
    )


def test_both_clients_have_the_same_areas_and_methods(both):
    one, other = both

    assert {name: set(methods(area)) for name, area in one.items()} == {
        name: set(methods(area)) for name, area in other.items()
    }
    assert len(one) > 20


def test_methods_take_the_same_parameters_and_wait_or_iterate(both):
    one, other = both
    for name, area in one.items():
        for method, function in methods(area).items():
            twin = methods(other[name])[method]
            assert _parameters(twin) == _parameters(function), f"{name}.{method}"
            if _returns(function, Iterator):
                assert _returns(twin, AsyncIterator), f"{name}.{method}"
            else:
                assert inspect.iscoroutinefunction(twin), f"{name}.{method}"


def test_a_function_that_calls_a_coroutine_becomes_one_and_others_stay():
    source = """
class Runs:
    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self) -> Iterator[int]:
        return self._http.pages(int, "/v1/runs")

    def first(self) -> str:
        for run in self.list():  # the newest
            return self._text(run)

    def _text(self, run: int) -> str:
        return self._http.send(_path(run)).text

def _path(run: int) -> str:
    return f"/v1/runs/{run}"

class Http:
    def pages(self, path: str) -> Iterator[int]:
        yield self.send(path).json()

    def send(self, path: str) -> str:
        return self._connections.send(path)
"""
    twin = async_client.twins({"runs.py": f'"""Runs."""\n{source}'})["runs.py"]

    for line in (
        "class AsyncRuns:",
        "    def list(self) -> AsyncIterator[int]:",
        "    async def first(self) -> str:",
        "        async for run in self.list():  # the newest",
        "            return await self._text(run)",
        "        return (await self._http.send(_path(run))).text",
        "def _path(run: int) -> str:",
        "    async def pages(self, path: str) -> AsyncIterator[int]:",
        "        yield (await self.send(path)).json()",
    ):
        assert f"\n{line}\n" in twin


def _parameters(function: Any) -> list[tuple[str, Any, Any]]:
    """Returns name, kind and default of each parameter; two lambdas are one default."""
    parameters = inspect.signature(function).parameters.values()
    return [(each.name, each.kind, getattr(each.default, "__name__", each.default)) for each in parameters]


def _returns(function: Any, kind: type) -> bool:
    return getattr(function.__annotations__.get("return"), "__origin__", None) is kind
