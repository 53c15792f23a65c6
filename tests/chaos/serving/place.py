"""The machine with its targets: two stand-in servers and a folder, and what each of them has loaded."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import httpx
from thumbwheel import wire
from thumbwheel.client import Client

from app import services
from app.access.service import first_admin_key
from app.database import transaction
from app.services import Process, free_port
from tests.chaos.runs.machine import Machine, machine
from tests.serving.made_checkpoints import content, register

PROJECT = "served"
CHECKPOINTS = 5
SERVERS = ("gpu-1", "gpu-2")
FOLDER = "link"
BASE = "base"
#: So that a killed worker is replaced, and a model drains, within seconds.
LEASE_SECONDS, DRAIN_SECONDS = 4.0, 1.0
TRIES = 14


@dataclass
class Place:
    """A running machine and its targets.

    contents  checkpoint → what a target that has loaded it writes
    """

    machine: Machine
    key: str
    ports: dict[str, int] = field(default_factory=dict)
    servers: dict[str, Process] = field(default_factory=dict)
    contents: dict[UUID, str] = field(default_factory=dict)

    @property
    def published(self) -> Path:
        return self.machine.folder / "published"

    @property
    def weighted(self) -> list[UUID]:
        """The checkpoints that are not the base model."""
        return [checkpoint_id for checkpoint_id, text in self.contents.items() if text != BASE]

    def client(self, tries: int = TRIES) -> Client:
        return Client(self.machine.url, self.key, PROJECT, tries=tries)

    def start_server(self, name: str) -> None:
        """Starts a stand-in server without adapters, under the address that it had."""
        with (self.machine.logs / name).open("ab") as log:
            self.servers[name] = Process(
                name,
                [sys.executable, "-m", "tests.chaos.serving.target", str(self.ports[name]), str(CHECKPOINTS)],
                output=log,
                environment=self.machine.environment,
            )

    def loaded(self, name: str) -> set[str] | None:
        """Returns the names of the adapters of a server; None if it does not answer."""
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.ports[name]}/v1/models", timeout=5)
        except httpx.HTTPError:
            return None
        return {card["id"] for card in answer.json()["data"] if card["parent"] is not None}

    def linked(self) -> dict[str, str]:
        """Returns what the links of the folder lead to, by role."""
        found = {}
        for role, suffix in (("live", "current"), ("canary", "canary")):
            link = self.published / PROJECT / f"{FOLDER}.{suffix}"
            if os.path.lexists(link):
                found[role] = (link / "adapter_model.safetensors").read_text()
        return found


@contextmanager
def place(folder: Path) -> Iterator[Place]:
    """Runs everything while the block lasts, with a project whose targets serve its base model."""
    with machine(folder, 0, LEASE_SECONDS) as ours:
        with transaction() as session:
            key = first_admin_key(session)
        assert key is not None
        here = Place(ours, key, {name: free_port() for name in SERVERS})
        try:
            for name in SERVERS:
                here.start_server(name)
            _prepare(here)
            yield here
        finally:
            for server in here.servers.values():
                server.kill()


def _prepare(here: Place) -> None:
    base = here.machine.folder / "base"
    base.mkdir()
    (base / "adapter_model.safetensors").write_text(BASE)  # where an adapter has its weights
    client = here.client()
    client.projects.create(wire.NewProject(project=PROJECT, base_model=str(base), suites=[]))
    here.contents[client.releases.current().checkpoint_id] = BASE
    for number in range(1, CHECKPOINTS + 1):
        made = register(PROJECT, here.machine.folder / f"checkpoint-{number}", number)
        here.contents[made] = content(number)
    published = str(here.published)
    for name, port in here.ports.items():
        url = f"http://127.0.0.1:{port}"
        settings = wire.VllmSettings(
            kind="vllm", url=url, publish_folder=published, drain_seconds=DRAIN_SECONDS, load_seconds=5
        )
        client.serving.create(name, settings)
    link = wire.FolderSettings(kind="folder", publish_folder=published, adapters="as_they_are")
    client.serving.create(FOLDER, link)
    if not services.wait_until(lambda: client.serving.overview().in_step, 60):
        raise RuntimeError(f"the targets do not serve the base model: {client.serving.overview()}")
