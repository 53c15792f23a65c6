# Written by tools/async_client.py from ../client/serving.py: change that file, then run `make async-client`.
"""`AsyncServingTargets`: the servers and folders that serve checkpoints."""

from collections.abc import AsyncIterator

from thumbwheel import wire
from thumbwheel.async_client.http import AsyncHttp


class AsyncServingTargets:
    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def overview(self) -> wire.Serving:
        """Returns the live checkpoint and the canary beside what each target was seen to serve."""
        return await self._http.get(wire.Serving, "/v1/serving")

    async def create(self, name: str, settings: wire.TargetSettings, *, enabled: bool = True) -> wire.ServingTarget:
        """Adds a target. A worker brings it to the live checkpoint and the canary."""
        new = wire.NewServingTarget(name=name, settings=settings, enabled=enabled)
        return await self._http.call(wire.ServingTarget, "POST", "/v1/serving/targets", new, once=True, drop_unset=True)

    async def get(self, name: str) -> wire.ServingTarget:
        return await self._http.get(wire.ServingTarget, f"/v1/serving/targets/{name}")

    def list(self) -> AsyncIterator[wire.ServingTarget]:
        """Yields the targets by their names."""
        return self._http.pages(wire.ServingTarget, "/v1/serving/targets")

    async def change(
        self, name: str, *, settings: wire.TargetSettings | None = None, enabled: bool | None = None
    ) -> wire.ServingTarget:
        """Replaces the settings, or turns the target on or off. With other settings, what was seen is forgotten."""
        change = wire.ServingTargetChange(settings=settings, enabled=enabled)
        return await self._http.call(wire.ServingTarget, "PATCH", f"/v1/serving/targets/{name}", change, safe=True)

    async def delete(self, name: str) -> None:
        """Forgets the target. What its server has loaded stays there."""
        await self._http.send("DELETE", f"/v1/serving/targets/{name}")

    async def sync(self, name: str) -> wire.ServingTarget:
        """Asks the workers to look at the target at once."""
        return await self._http.call(wire.ServingTarget, "POST", f"/v1/serving/targets/{name}/sync", safe=True)
