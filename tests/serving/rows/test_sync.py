"""Targets follow the ledger: loaded under immutable names, probed, drained; every fault is reported and tried again."""

import os
import signal
import subprocess
import sys
from datetime import timedelta

import pytest
from thumbwheel import wire

from app.database import transaction
from app.releases import service as releases
from app.runs import service as runs
from app.serving import service as serving
from app.serving import shown
from tests.desk import DESK, execute
from tests.serving.stand_in import stand_in


def waiting(name: str) -> list[str]:
    return [row[0] for row in execute("SELECT task FROM outbox WHERE task LIKE :name", name=f"%{name}")]


def test_a_release_is_published_loaded_probed_and_seen(desk, vllm):
    first = desk.checkpoint()
    added = desk.add(kind="vllm", url=f"{vllm.url}/v1")
    assert (added.state, added.in_step, added.seen_checkpoint_id) == ("new", False, None)
    desk.ship(first)

    seen = desk.look()

    assert (seen.state, seen.in_step, seen.reason) == ("serving", True, None)
    assert seen.seen_checkpoint_id == seen.desired_checkpoint_id == first
    assert (seen.probe.verdict, seen.probe.way, seen.probe.max_nats) == ("ok", "log_probs", 0.0)
    assert seen.probe.base_max_nats == 0.5
    [(name, path)] = vllm.adapters.items()
    assert name == f"{DESK}-{path.rpartition('/')[2][:12]}"
    assert sorted(os.listdir(path)) == ["adapter_config.json", "adapter_model.safetensors"]
    with transaction(read_only=True) as session:
        [address] = serving.served_models(session, DESK, first)
    assert (address.base_url, address.model) == (f"{vllm.url}/v1", name)


def test_the_next_release_is_loaded_beside_the_one_before_which_is_unloaded_after_draining(desk, vllm, served):
    execute("UPDATE serving_targets SET settings = settings || '{\"drain_seconds\": 3600}'")
    [before] = vllm.adapters
    second = desk.checkpoint()
    desk.ship(second)

    seen = desk.look()
    assert (seen.seen_checkpoint_id, seen.draining, len(vllm.adapters)) == (second, [before], 2)

    execute(
        "UPDATE serving_targets SET loaded = (SELECT jsonb_agg(CASE WHEN each ->> 'unload_at' IS NULL THEN each ELSE "
        'each || \'{"unload_at": "2026-01-01T00:00:00+00:00"}\' END) FROM jsonb_array_elements(loaded) AS each)'
    )
    seen = desk.look()
    assert (seen.draining, list(vllm.adapters)) == ([], [seen.model])

    desk.ship()
    assert (desk.look().seen_checkpoint_id, desk.target().in_step) == (served, True)


def test_a_server_that_lost_its_adapters_by_a_restart_gets_them_again(desk, vllm, served):
    vllm.restart()
    assert desk.target().in_step  # nobody knows yet

    assert desk.look().in_step
    assert len(vllm.adapters) == 1


@pytest.mark.parametrize(("lies", "verdict"), [("base", "base_instead_of_adapter"), (0.01, "differs")])
def test_a_checkpoint_that_fails_its_probe_is_unloaded_and_the_one_before_stays(desk, vllm, served, lies, verdict):
    [before] = vllm.adapters
    second = desk.checkpoint()
    desk.ship(second)
    vllm.lies = lies

    seen = desk.look()

    assert (seen.state, seen.in_step, seen.attempts) == ("failed", False, 1)
    assert (seen.seen_checkpoint_id, seen.desired_checkpoint_id) == (served, second)
    assert (seen.probe.verdict, seen.probe.checkpoint_id) == (verdict, second)
    assert f"the probe found {verdict}" in seen.reason
    assert list(vllm.adapters) == [before]

    vllm.lies = None
    assert desk.look().seen_checkpoint_id == second


def test_the_one_before_is_loaded_again_if_the_server_lost_it_and_refuses_the_next_one(desk, vllm, served):
    [before] = vllm.adapters
    desk.ship(desk.checkpoint())
    vllm.restart()
    vllm.lies = "base"

    seen = desk.look()

    assert (seen.state, seen.seen_checkpoint_id, list(vllm.adapters)) == ("failed", served, [before])


def test_a_server_that_answers_500_is_tried_again_later_each_time(desk, vllm, served):
    second = desk.checkpoint()
    desk.ship(second)
    vllm.load_status = 500

    assert [desk.look().attempts for _ in range(3)] == [1, 2, 3]
    seen = desk.target()
    assert (seen.state, seen.seen_checkpoint_id) == ("failed", served)
    assert "it answered 500" in seen.reason
    assert "unable to load" in seen.reason
    [(pause,)] = execute("SELECT extract(epoch FROM next_try_at - now()) FROM serving_targets")
    assert 15 < pause <= 20

    vllm.load_status = 0
    assert desk.look().in_step


def test_a_target_that_is_away_blocks_nothing_is_rung_again_and_becomes_an_alarm(desk, vllm, served, monkeypatch):
    desk.add("other", kind="folder", adapters="as_they_are")
    nowhere = '"http://127.0.0.1:9"'
    execute(f"UPDATE serving_targets SET settings = jsonb_set(settings, '{{url}}', '{nowhere}') WHERE name = 'gpu'")
    second = desk.checkpoint()
    desk.ship(second)

    away, other = desk.look("gpu"), desk.look("other")

    assert (away.state, away.seen_checkpoint_id, away.in_step, away.alarm) == ("away", served, False, False)
    assert "cannot be reached" in away.reason
    assert other.seen_checkpoint_id == second
    with transaction(read_only=True) as session:
        overview = serving.overview(session, DESK)
    assert (overview.checkpoint_id, overview.in_step, overview.targets_differ) == (second, False, True)

    execute("UPDATE serving_targets SET next_try_at = now() - interval '1 s', rung_at = now() - interval '1 minute'")
    execute("DELETE FROM outbox")
    with transaction() as session:
        serving.ring_due(session)
    assert len(waiting("sync_target")) == 2
    monkeypatch.setattr(shown, "ALARM", timedelta(0))
    assert desk.target("gpu").alarm
    with transaction() as session:
        notices = runs.readiness(session, DESK).notices
    assert any("target gpu does not serve the live checkpoint since" in notice for notice in notices)


def test_a_slow_server_counts_as_away(desk, vllm, served):
    execute("UPDATE serving_targets SET settings = settings || '{\"load_seconds\": 0.3}'")
    desk.ship(desk.checkpoint())
    vllm.hang_after_load = True

    seen = desk.look()

    assert (seen.state, seen.reason) == ("away", "/v1/load_lora_adapter did not answer in time")
    assert desk.look().in_step  # it was loaded all the same


def test_a_worker_that_is_killed_between_load_and_record_leaves_nothing_behind(desk, vllm, served, servers):
    [before] = vllm.adapters
    second = desk.checkpoint()
    desk.ship(second)
    vllm.hang_after_load = True
    vllm.loading.clear()
    program = f"from uuid import UUID; from worker.serving.sync import sync; sync(UUID('{desk.target().id}'))"
    command = [sys.executable, "-c", program]
    worker = subprocess.Popen(command, env={**os.environ, **servers.environment})
    try:
        assert vllm.loading.wait(60)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    vllm.hang_after_load = False
    assert (desk.target().state, desk.look().state) == ("loading", "loading")  # the lease has not expired
    desk.ship(served)  # the checkpoint that was loaded is not even wanted any more

    execute("UPDATE serving_targets SET lease_expires_at = now() - interval '1 s'")
    desk.look()
    seen = desk.look()

    assert (seen.in_step, seen.seen_checkpoint_id, list(vllm.adapters), seen.draining) == (True, served, [before], [])


def test_a_release_whose_message_was_lost_with_its_worker_is_found_by_the_tick(desk, vllm, served):
    with transaction() as session:
        releases.ship(session, DESK, wire.NewRelease(checkpoint_id=desk.checkpoint(), share=0.5), "key test")
    execute("DELETE FROM outbox")

    with transaction() as session:
        serving.ring_due(session)

    assert len(waiting("sync_target")) == 1
    execute("DELETE FROM outbox")
    with transaction() as session:
        serving.ring_due(session)
    assert waiting("sync_target") == []  # the worker that was asked may still come


def test_what_a_worker_saw_is_not_written_once_the_target_was_changed(desk, vllm, served, monkeypatch):
    from worker.serving import visit as module

    desk.ship(desk.checkpoint())
    real = module.probed

    def changed_meanwhile(*arguments):
        with transaction() as session:
            serving.change(session, DESK, "gpu", wire.ServingTargetChange(enabled=False))
        return real(*arguments)

    monkeypatch.setattr(module, "probed", changed_meanwhile)

    seen = desk.look()
    assert (seen.state, seen.seen_checkpoint_id) == ("disabled", served)


def test_a_release_during_a_look_is_looked_at_at_once(desk, vllm, served, monkeypatch):
    from worker.serving import visit as module

    real = module.probed
    second, third = desk.checkpoint(), desk.checkpoint()
    desk.ship(second)

    def shipped_meanwhile(*arguments):
        desk.ship(third)
        return real(*arguments)

    monkeypatch.setattr(module, "probed", shipped_meanwhile)
    execute("DELETE FROM outbox")
    assert desk.look().seen_checkpoint_id == second
    monkeypatch.undo()

    assert waiting("sync_target")
    [(due,)] = execute("SELECT next_try_at <= now() FROM serving_targets")
    assert due
    assert desk.look().seen_checkpoint_id == third


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"use_dora": True}, "it has DoRA"),
        ({"r": 32}, "its rank is 32, more than max_lora_rank 16"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "lora_only"}, "it has biases"),
        ({"init_lora_weights": "pissa"}, "its start (pissa) changes the base model's weights"),
    ],
)
def test_an_adapter_that_the_target_would_refuse_is_never_sent(desk, vllm, served, config, reason):
    desk.ship(desk.checkpoint(**config))
    vllm.calls.clear()

    seen = desk.look()

    assert (seen.state, seen.seen_checkpoint_id) == ("failed", served)
    assert reason in seen.reason
    assert not [path for path, _ in vllm.calls if "load" in path]


def test_the_base_model_is_served_by_its_name_and_probed_by_the_probe_of_an_adapter_upon_it(desk, vllm, served):
    desk.ship()

    seen = desk.look()

    assert (seen.in_step, seen.model) == (True, "base-model")
    assert (seen.probe.verdict, seen.probe.base_max_nats) == ("ok", 0.5)
    desk.look()
    assert vllm.adapters == {}


def test_a_checkpoint_without_a_probe_is_served_and_said_to_be_unprobed(desk, vllm):
    desk.ship(desk.checkpoint(with_probe=False))
    desk.add(kind="vllm", url=vllm.url)

    seen = desk.look()

    assert (seen.in_step, seen.probe.verdict) == (True, "not_comparable")
    assert "no probe.json" in seen.probe.reason


def test_sglang_has_its_own_paths_and_names(desk):
    with stand_in("sglang") as server:
        server.probes = desk.probes
        desk.ship(desk.checkpoint())
        desk.add(kind="sglang", url=server.url)

        seen = desk.look()

        [name] = server.adapters
        assert (seen.in_step, seen.probe.verdict, seen.model) == (True, "ok", f"base-model:{name}")
        assert ("/load_lora_adapter", name) in server.calls


def test_the_key_is_read_from_the_workers_environment_and_told_to_nobody(desk, vllm, monkeypatch):
    vllm.key = "very-secret"
    desk.ship(desk.checkpoint())
    desk.add(kind="vllm", url=vllm.url, key_env="THUMBWHEEL_SERVING_KEY_GPU")

    missing = desk.look()
    assert (missing.state, "THUMBWHEEL_SERVING_KEY_GPU" in missing.reason) == ("failed", True)
    monkeypatch.setenv("THUMBWHEEL_SERVING_KEY_GPU", "wrong-secret")
    wrong = desk.look()
    assert (wrong.state, "401" in wrong.reason, "wrong-secret" in wrong.reason) == ("failed", True, False)
    monkeypatch.setenv("THUMBWHEEL_SERVING_KEY_GPU", "very-secret")
    assert desk.look().in_step


def test_a_link_is_swapped_atomically_and_always_points_to_a_whole_folder(desk):
    first, second = desk.checkpoint(), desk.checkpoint()
    desk.ship(first)
    desk.add(kind="folder", adapters="as_they_are")
    seen = desk.look()
    link = desk.publish / DESK / "gpu.current"
    assert (seen.in_step, seen.model, seen.probe.verdict) == (True, str(link), "not_comparable")
    before = os.readlink(link)
    assert (link / "adapter_model.safetensors").read_text() == "weights 1"

    desk.ship(second)
    assert desk.look().in_step
    assert (link / "adapter_model.safetensors").read_text() == "weights 2"
    assert (desk.publish / DESK / before / "adapter_model.safetensors").read_text() == "weights 1"
    assert not [name for name in os.listdir(desk.publish / DESK) if name.startswith(".")]

    link.unlink()
    link.mkdir()
    assert "is in the way" in desk.look().reason


def test_full_weights_wait_for_the_operators_restart(desk, vllm):
    desk.add(kind="vllm", url=vllm.url, full_weights="by_restart")
    weights = desk.checkpoint(kind="weights")
    desk.ship(weights)

    seen = desk.look()

    link = desk.publish / DESK / "gpu.current"
    assert (seen.state, seen.seen_checkpoint_id, seen.probe.verdict) == ("loading", None, "base_instead_of_adapter")
    assert "restart the server" in seen.reason
    assert sorted(os.listdir(link)) == ["config.json", "model.safetensors"]


def test_full_weights_are_refused_by_a_target_of_adapters(desk, vllm):
    desk.add(kind="vllm", url=vllm.url)
    desk.ship(desk.checkpoint(kind="weights"))

    assert "it has full weights" in desk.look().reason


def test_a_folder_that_cannot_be_written_is_told(desk, vllm):
    desk.publish.write_text("a file")
    desk.ship(desk.checkpoint())
    desk.add(kind="vllm", url=vllm.url)

    seen = desk.look()
    assert (seen.state, "check publish_folder" in seen.reason) == ("failed", True)


def test_a_killed_publication_is_not_taken_for_a_whole_folder(desk, vllm, served):
    second = desk.checkpoint()
    desk.ship(second)
    folder = desk.publish / DESK
    (folder / "..publishing-1.part").mkdir()
    [known] = [path for path in folder.iterdir() if not path.name.startswith(".")]
    assert desk.look().in_step
    [new] = [path for path in folder.iterdir() if not path.name.startswith(".") and path != known]
    (new / "adapter_config.json").unlink()  # somebody tidied up
    vllm.restart()

    assert desk.look().in_step
    assert (new / "adapter_config.json").is_file()
