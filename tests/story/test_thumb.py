"""One thumb, from POST to the release that it influenced: real HTTP, Postgres, Redis, Celery, trainer."""

import io
import json
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest
from thumbwheel import wire

from app.cli.stack import Stack
from tests.story.desk import desk, ended, events, wait
from worker.training.files.fingerprint import weights_fingerprint

pytestmark = [pytest.mark.trial, pytest.mark.xdist_group("stack"), pytest.mark.timeout(600)]


def labels_of_snapshot(stack: Stack, pulled: Path) -> dict[str, bool]:
    """Returns completion id → label for every row of the snapshot that the pulled checkpoint names."""
    store = Path(stack.environment["THUMBWHEEL_DATA_DIR"]) / "artifacts" / "sha256"

    def stored(sha256: str) -> bytes:
        return (store / sha256[:2] / sha256).read_bytes()

    manifest = json.loads((pulled / "manifest.json").read_bytes())
    labels: dict[str, bool] = {}
    for shard in json.loads(stored(manifest["snapshot"]["sha256"]))["shards"]:
        table = pq.read_table(io.BytesIO(stored(shard["sha256"])))
        labels |= dict(zip(table["completion_id"].to_pylist(), table["label"].to_pylist(), strict=True))
    return labels


def test_a_thumb_goes_from_post_to_the_release_that_it_influenced(stack, base_model, tmp_path):
    with desk(stack, "thumb", base_model, trigger={"new_per_class": 40}) as client:
        _, thumb, *others = events(82)
        assert client.events.record(thumb).status == "stored"
        assert client.events.record(thumb).status == "replayed"
        assert client.releases.current().action == "start"

        # Before there are enough labels, the trigger names how many are missing.
        assert client.events.record_many(others[:50]).stored == 50

        def refusals() -> list[str]:
            return [decision.reason for decision in client.runs.trigger_decisions() if not decision.started]

        wait(stack, "a decision", lambda: any("of 40 new desirable labels" in reason for reason in refusals()))
        assert not list(client.runs.list())

        # With enough labels a run starts automatically and passes through every state.
        assert client.events.record_many(others[50:]).stored == 30
        (run,) = wait(stack, "the start of a run", lambda: list(client.runs.list()))
        run = ended(stack, client, run.id)
        assert run.state == "succeeded", run.reason
        assert run.trigger.startswith("trigger: ")
        states = ["queued", "snapshotting", "referencing", "training", "evaluating", "succeeded"]
        assert [move.to_state for move in run.transitions] == states
        assert run.recipe.lambda_desirable != "auto"
        steps = client.runs.metrics(run.id).steps
        assert [line["step"] for line in steps] == list(range(1, steps[-1]["total_steps"] + 1))

        # The registered checkpoint is complete, described by its card, and not live yet.
        checkpoint = client.checkpoints.pull(run.checkpoint_id, tmp_path / "weights")
        assert (checkpoint.kind, checkpoint.verdict, checkpoint.live) == ("weights", "passed", False), checkpoint
        assert weights_fingerprint(tmp_path / "weights") == checkpoint.weights_sha256
        assert checkpoint.scores["auroc"]["low"] > 0.5
        assert "learnt" in (tmp_path / "weights" / "README.md").read_text()
        assert labels_of_snapshot(stack, tmp_path / "weights")[thumb.completion_id] is True

        # Once shipped, it is the current release.
        release = client.releases.ship(checkpoint.id, reason="the story")
        current = client.releases.current()
        assert (current.id, current.checkpoint.id, current.checkpoint.live) == (release.id, checkpoint.id, True)
        headers = {"Authorization": f"Bearer {stack.admin_key}", "If-None-Match": f'"{release.id}"'}
        known = httpx.get(f"{stack.base_url}/v1/releases/current?project=thumb", headers=headers)
        assert known.status_code == 304

        # The next run starts from the shipped weights, on which its adapter stands.
        lora = wire.NewRun(changes={"method": "lora", "epochs": 1, "lora": {"rank": 2, "alpha": 4}})
        second = ended(stack, client, client.runs.start(lora).id)
        assert second.state == "succeeded", second.reason
        adapter = client.checkpoints.pull(second.checkpoint_id, tmp_path / "adapter")
        assert (adapter.kind, adapter.parent_id, adapter.stands_on_id) == ("adapter", checkpoint.id, checkpoint.id)
        trained = json.loads((tmp_path / "adapter" / "manifest.json").read_bytes())["training"]
        assert trained["base_fingerprint"] == checkpoint.weights_sha256

        # The receipt of the thumb names the weights that it influenced. Its erasure removes the working folders.
        learnt = {checkpoint.id, adapter.id}
        assert {each.checkpoint_id for each in client.events.receipt(thumb.event_id).checkpoints} == learnt
        folders = [Path(stack.environment["THUMBWHEEL_DATA_DIR"]) / "work" / str(each.id) for each in (run, second)]
        assert all(folder.is_dir() for folder in folders)
        begun = client.erasures.start(thumb.actor)

        def certificate() -> wire.Certificate | None:
            return client.erasures.get(begun.id).certificate

        certified = wait(stack, "the erasure", certificate)
        assert thumb.event_id in certified.event_ids
        assert {each.checkpoint_id for each in certified.checkpoints} == learnt
        wait(stack, "the end of the working folders", lambda: not any(folder.exists() for folder in folders))

        # A rollback is one call.
        assert client.releases.roll_back().checkpoint_id == run.reference_checkpoint_id
        assert client.releases.current().checkpoint.kind == "base"
