"""`ServingTargets`: the servers and folders that serve checkpoints."""

from collections.abc import Iterator

from thumbwheel import wire
from thumbwheel.client.http import Http


class ServingTargets:
    def __init__(self, http: Http) -> None:
        self._http = http

    def overview(self) -> wire.Serving:
        """Returns the live checkpoint and the canary beside what each target was seen to serve."""
        return self._http.get(wire.Serving, "/v1/serving")

    def create(self, name: str, settings: wire.TargetSettings, *, enabled: bool = True) -> wire.ServingTarget:
        """Adds a target. A worker brings it to the live checkpoint and the canary."""
        new = wire.NewServingTarget(name=name, settings=settings, enabled=enabled)
        return self._http.call(wire.ServingTarget, "POST", "/v1/serving/targets", new, once=True, drop_unset=True)

    def get(self, name: str) -> wire.ServingTarget:
        return self._http.get(wire.ServingTarget, f"/v1/serving/targets/{name}")

    def list(self) -> Iterator[wire.ServingTarget]:
        """Yields the targets by their names."""
        return self._http.pages(wire.ServingTarget, "/v1/serving/targets")

    def change(
        self, name: str, *, settings: wire.TargetSettings | None = None, enabled: bool | None = None
    ) -> wire.ServingTarget:
        """Replaces the settings, or turns the target on or off. With other settings, what was seen is forgotten."""
        change = wire.ServingTargetChange(settings=settings, enabled=enabled)
        return self._http.call(wire.ServingTarget, "PATCH", f"/v1/serving/targets/{name}", change, safe=True)

    def delete(self, name: str) -> None:
        """Forgets the target. What its server has loaded stays there."""
        self._http.send("DELETE", f"/v1/serving/targets/{name}")

    def sync(self, name: str) -> wire.ServingTarget:
        """Asks the workers to look at the target at once."""
        return self._http.call(wire.ServingTarget, "POST", f"/v1/serving/targets/{name}/sync", safe=True)
