"""A project with serving targets, and a gateway behind a real socket."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import pytest
from openai import OpenAI
from thumbwheel import wire

from app.access import service as access
from app.checkpoints import service as checkpoints
from app.database import new_id, transaction
from app.gateway.main import create_gateway
from app.releases import service as releases
from app.serving import service as serving
from tests.desk import DESK, execute, make_project
from tests.gateway.openai_server import ModelServer, model_server
from tests.served import in_a_thread

#: What a worker writes of a target that serves a checkpoint.
SEEN = {"kind": "adapter", "digest": "d", "name": "n", "folder": "/f", "path": "/f"}
#: One client for all requests, as each new one reads the certificates of the machine; a connection for each.
HTTP = httpx.Client(timeout=30, limits=httpx.Limits(max_keepalive_connections=0))


@dataclass
class Served:
    """The project, its servers and the gateway in front of them."""

    url: str
    key: str
    live: UUID
    stack: ExitStack
    servers: dict[str, ModelServer] = field(default_factory=dict)

    @property
    def openai(self) -> OpenAI:
        return self.stack.enter_context(OpenAI(base_url=f"{self.url}/v1", api_key=self.key, max_retries=0))

    def post(self, path: str = "/v1/chat/completions", **body: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}", **body.pop("headers", {})}
        asked = {"model": DESK, "messages": [{"role": "user", "content": "Where is it?"}], **body}
        return HTTP.post(f"{self.url}{path}", json=asked, headers=headers)

    def figures(self) -> dict[str, Any]:
        answer = HTTP.get(f"{self.url}/v1/gateway", headers={"Authorization": f"Bearer {self.key}"})
        return dict(answer.raise_for_status().json())

    def registered(self, completion_id: str) -> wire.StoredCompletion:
        """Returns the completion once it is registered."""
        from app.errors import NotFound
        from app.feedback import service as feedback

        deadline = time.monotonic() + 20
        while True:
            try:
                with transaction(read_only=True) as session:
                    return feedback.completion(session, DESK, completion_id)
            except NotFound:
                assert time.monotonic() < deadline, self.figures()
                time.sleep(0.01)

    def unregistered(self) -> dict[str, int]:
        """Returns the unregistered completions by reason, once there are some."""
        deadline = time.monotonic() + 20
        while not (reasons := self.figures()["projects"][DESK]["unregistered"]):
            assert time.monotonic() < deadline, self.figures()
            time.sleep(0.01)
        return dict(reasons)


def make_checkpoint(name: str) -> UUID:
    with transaction() as session:
        return checkpoints.register(
            session,
            project=DESK,
            run_id=new_id(),
            snapshot_id=None,
            reference_id=checkpoints.register_base(session, DESK).id,
            weights_sha256=name.ljust(64, "0"),
            files={},
            manifest={"kind": "adapter", "verdict": "passed", "reasons": [], "scores": {}, "training": {}},
        ).id


def make_key(*scopes: wire.Scope, project: str | None = DESK) -> str:
    with transaction() as session:
        return access.create_key(
            session, wire.NewKey(name="t", scopes=list(scopes), project=project), within=None
        ).secret


def live() -> UUID:
    with transaction(read_only=True) as session:
        return releases.current(session, DESK).checkpoint_id


def add_target(name: str, url: str, checkpoint_id: UUID, *, kind: str = "vllm", **more: Any) -> None:
    """Adds a target that a worker saw to serve the checkpoint."""
    new = wire.NewServingTarget.model_validate(
        {"name": name, "settings": {"kind": kind, "url": url, "publish_folder": "/srv", **more}}
    )
    with transaction() as session:
        serving.create(session, DESK, new, "key test")
    see(name, checkpoint_id)


def see(name: str, checkpoint_id: UUID, state: str = "serving") -> None:
    """Writes what a worker would have seen at the target: the checkpoint, in its role in the ledger."""
    role = "live" if checkpoint_id == live() or state != "serving" else "canary"
    execute(
        "INSERT INTO serving_sightings (target_id, role, state, seen_checkpoint_id, seen, seen_at, attempts)"
        " SELECT id, :role, :state, :checkpoint, CAST(:seen AS jsonb), now(), 0 FROM serving_targets WHERE name = :name"
        " ON CONFLICT (target_id, role) DO UPDATE SET state = EXCLUDED.state,"
        " seen_checkpoint_id = EXCLUDED.seen_checkpoint_id, seen = EXCLUDED.seen, seen_at = EXCLUDED.seen_at",
        name=name, role=role, state=state, checkpoint=checkpoint_id,
        seen=json.dumps({**SEEN, "model": f"model-{name}"}),
    )  # fmt: skip


@pytest.fixture
def serve(database: str) -> Iterator[Callable[..., Served]]:
    """A function: `serve("a", "b")` serves the live checkpoint of a project by two servers behind a gateway."""
    make_project()
    with ExitStack() as stack:

        def start(*names: str, kind: str = "vllm", **how: Any) -> Served:
            ready = Served("", make_key("gateway:use"), live(), stack)
            for name in names:
                ready.servers[name] = stack.enter_context(model_server(**how))
                add_target(name, ready.servers[name].url, ready.live, kind=kind)
            ready.url = stack.enter_context(in_a_thread(create_gateway))
            return ready

        yield start
