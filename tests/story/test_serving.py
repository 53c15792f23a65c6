"""Serving targets on the running stack: message, worker and tick bring them to the live checkpoint."""

from collections.abc import Iterator

import pytest
from thumbwheel import Client, wire

from app import services
from app.cli.stack import Stack
from tests.serving.stand_in import stand_in

#: Seconds after which a wait counts as a hang.
PATIENCE = 120

pytestmark = pytest.mark.xdist_group("stack")


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with Client(stack.base_url, stack.admin_key, "served") as connected:
        yield connected


def in_step(client: Client, name: str) -> wire.ServingTarget:
    """Waits until the target is in step."""
    assert services.wait_until(lambda: client.serving.get(name).in_step, PATIENCE), client.serving.get(name)
    return client.serving.get(name)


def test_workers_bring_targets_to_the_live_base_model_while_another_one_is_away(client, tmp_path) -> None:
    client.projects.create(wire.NewProject(project="served", base_model="/models/base", suites=[]))
    publish = str(tmp_path / "published")
    with stand_in() as server:
        away = wire.VllmSettings(kind="vllm", url="http://127.0.0.1:9", publish_folder=publish)
        client.serving.create("away", away)
        client.serving.create("gpu", wire.VllmSettings(kind="vllm", url=server.url, publish_folder=publish))
        client.serving.create("link", wire.FolderSettings(kind="folder", publish_folder=publish))

        assert in_step(client, "gpu").model == "base-model"
        assert in_step(client, "link").model == f"{publish}/served/link.current"
        client.projects.change_base_model(wire.NewBaseModel(base_model="/models/next"))
        assert in_step(client, "link").desired_checkpoint_id == client.releases.current().checkpoint_id

    overview = client.serving.overview()
    assert (overview.in_step, overview.targets[0].state) == (False, "away")
    assert (tmp_path / "published" / "served" / "link.current").readlink().as_posix() == "/models/next"
    for target in overview.targets:
        client.serving.delete(target.name)
