"""A project whose live checkpoint is served by the model server of the benchmark."""

import json

from sqlalchemy import text
from thumbwheel import wire

from app.access import service as access
from app.database import transaction
from app.releases import service as releases
from app.serving import service as serving_targets
from benchmarks.ingest.servers import PROJECT

SEEN = {"kind": "adapter", "digest": "d", "name": "n", "folder": "/f", "path": "/f", "model": "bench-0123456789ab"}


def prepare(url: str) -> str:
    """Adds the model server as a target that serves the live checkpoint; returns a key for the gateway."""
    with transaction() as session:
        settings = {"kind": "vllm", "url": url, "publish_folder": "/srv/models"}
        new = wire.NewServingTarget.model_validate({"name": f"gpu-{url.split(':')[-1][:-3]}", "settings": settings})
        session.execute(text("DELETE FROM serving_targets"))
        serving_targets.create(session, PROJECT, new, "benchmark")
        checkpoint = releases.current(session, PROJECT).checkpoint_id
        session.execute(
            text(
                "INSERT INTO serving_sightings (target_id, role, state, seen, seen_checkpoint_id, seen_at, attempts)"
                " SELECT id, 'live', 'serving', :seen, :id, now(), 0 FROM serving_targets"
            ),
            {"seen": json.dumps(SEEN), "id": checkpoint},
        )
        key = wire.NewKey(name="gateway", scopes=["gateway:use"], project=PROJECT)
        return access.create_key(session, key, within=None).secret
