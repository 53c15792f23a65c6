# Written by tools/async_client.py from ../client/suites.py: change that file, then run `make async-client`.
"""`AsyncSuites`: versions of a project's suites, and which of them every evaluation runs."""

import builtins
from collections.abc import AsyncIterator
from urllib.parse import quote

from thumbwheel import wire
from thumbwheel.async_client.http import AsyncHttp


class AsyncSuites:
    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def create(self, suite: wire.Suite, *, note: str = "") -> wire.SuiteVersion:
        """Stores the suite as the next version of its name, or returns the version that is equal to it."""
        new = wire.NewSuite(suite=suite, note=note)
        return await self._http.call(wire.SuiteVersion, "POST", "/v1/suites", new, safe=True)

    def list(self) -> AsyncIterator[wire.SuiteVersion]:
        """Yields the versions by name, each name's newest first; version 0 comes with the server."""
        return self._http.pages(wire.SuiteVersion, "/v1/suites")

    async def get(self, name: str, version: int) -> wire.StoredSuite:
        """Returns a version with its document."""
        return await self._http.get(wire.StoredSuite, f"/v1/suites/{quote(name, safe='')}/versions/{version}")

    async def adopted(self) -> builtins.list[wire.SuiteVersion]:
        """Returns the suites that the evaluation of a run runs if the run is requested now."""
        answer = await self._http.send("GET", "/v1/suites/adopted", safe=True)
        return [wire.SuiteVersion.model_validate(item) for item in answer.json()]

    async def adopt(self, name: str, version: int, *, reason: str = "") -> wire.SuiteAdoption:
        """Makes evaluations run this version, in place of another one of this name."""
        return await self._append(wire.NewSuiteAdoption(name=name, version=version, reason=reason))

    async def drop(self, name: str, *, reason: str = "") -> wire.SuiteAdoption:
        """Makes evaluations run no version of this suite."""
        return await self._append(wire.NewSuiteAdoption(name=name, drop=True, reason=reason))

    def adoptions(self) -> AsyncIterator[wire.SuiteAdoption]:
        """Yields the ledger of adopted and dropped suites, newest first."""
        return self._http.pages(wire.SuiteAdoption, "/v1/suites/adoptions")

    async def _append(self, new: wire.NewSuiteAdoption) -> wire.SuiteAdoption:
        return await self._http.call(wire.SuiteAdoption, "POST", "/v1/suites/adoptions", new)
