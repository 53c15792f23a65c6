"""A project whose checkpoints are adapters with probes, and servers to serve them."""

from pathlib import Path
from uuid import UUID

import pytest
from thumbwheel import wire

from app.checkpoints.probe_file import Probe
from app.database import transaction
from app.releases import service as releases
from app.serving import service as serving
from tests.desk import DESK, execute, make_project
from tests.serving.made_checkpoints import content, probe, register
from tests.serving.stand_in import StandIn, stand_in
from worker.serving.sync import sync


class Desk:
    """A project with one target. `publish` is the target's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.publish = folder, folder / "published"
        self.probes: dict[str, Probe] = {}
        self._made = 0

    def checkpoint(self, *, with_probe: bool = True, kind: str = "adapter", **config: object) -> UUID:
        """Registers a checkpoint; each one is half a nat above the one before."""
        self._made += 1
        self.probes[content(self._made)] = probe(self._made)
        made = self.folder / f"made-{self._made}"
        return register(DESK, made, self._made, with_probe=with_probe, kind=kind, **config)

    def ship(self, checkpoint_id: UUID | None = None, share: float | None = None) -> None:
        how = {"rollback": True} if checkpoint_id is None else {"checkpoint_id": checkpoint_id, "share": share}
        with transaction() as session:
            release = releases.ship(session, DESK, wire.NewRelease.model_validate(how), "key test")
        with transaction() as session:
            serving.look_at_release(session, release.id)

    def add(self, name: str = "gpu", **settings: object) -> wire.ServingTarget:
        given = {"publish_folder": str(self.publish), "drain_seconds": 0, **settings}
        if given["kind"] == "folder":
            del given["drain_seconds"]
        new = wire.NewServingTarget.model_validate({"name": name, "settings": given})
        with transaction() as session:
            return serving.create(session, DESK, new, "key test")

    def target(self, name: str = "gpu") -> wire.ServingTarget:
        with transaction(read_only=True) as session:
            return serving.get(session, DESK, name)

    def look(self, name: str = "gpu") -> wire.ServingTarget:
        """Has a worker look at the target now."""
        execute("UPDATE serving_targets SET next_try_at = now() - interval '1 s' WHERE name = :name", name=name)
        sync(self.target(name).id)
        return self.target(name)


@pytest.fixture
def desk(database, tmp_path):
    make_project()
    return Desk(tmp_path)


@pytest.fixture
def vllm(desk):
    with stand_in() as server:
        server.probes = desk.probes
        yield server


@pytest.fixture
def served(desk, vllm: StandIn):
    """The id of a live checkpoint that the target `gpu` serves."""
    first = desk.checkpoint()
    desk.ship(first)
    desk.add(kind="vllm", url=vllm.url)
    assert desk.look().in_step
    return first
