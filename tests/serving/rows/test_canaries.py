"""A canary is loaded beside the live checkpoint, which nothing that happens to the canary disturbs."""

import os
import random
import time
from datetime import timedelta

import pytest
from thumbwheel import wire

from app.database import now, transaction
from app.errors import Refused
from app.runs import service as runs
from app.serving import service as serving
from app.serving import shown
from tests.conftest import forget_settings
from tests.desk import DESK, execute
from tests.serving.stand_in import stand_in
from worker.serving import visit


def where(checkpoint_id) -> list[str]:
    """The models under which the checkpoint answers."""
    with transaction(read_only=True) as session:
        return [each.model for each in serving.served_models(session, DESK, checkpoint_id)]


def loads(vllm) -> list[str]:
    return [name for path, name in vllm.calls if path.endswith("/load_lora_adapter")]


@pytest.fixture
def canary(desk, vllm, served):
    """The id of a canary that the target `gpu` serves beside `served`."""
    second = desk.checkpoint()
    desk.ship(second, share=0.2)
    assert desk.look().in_step
    return second


def test_a_canary_is_loaded_probed_and_seen_beside_the_live_checkpoint(desk, vllm, served):
    second = desk.checkpoint()
    desk.ship(second, share=0.2)
    waiting = desk.target()
    assert (waiting.in_step, waiting.state, waiting.canary.state) == (False, "serving", "new")

    seen = desk.look()

    assert (seen.state, seen.seen_checkpoint_id, seen.in_step, seen.alarm) == ("serving", served, True, False)
    assert (seen.canary.state, seen.canary.seen_checkpoint_id, seen.canary.share) == ("serving", second, 0.2)
    assert (seen.canary.probe.verdict, seen.canary.probe.checkpoint_id) == ("ok", second)
    assert sorted(vllm.adapters) == sorted([seen.model, seen.canary.model])
    assert (where(served), where(second)) == ([seen.model], [seen.canary.model])
    with transaction(read_only=True) as session:
        overview = serving.overview(session, DESK)
    assert (overview.canary.checkpoint_id, overview.in_step, overview.targets_differ) == (second, True, False)


def test_a_canary_that_is_shipped_to_all_is_not_loaded_again_and_the_one_before_drains(desk, vllm, served, canary):
    model = desk.target().canary.model
    vllm.calls.clear()
    desk.ship(canary, share=0.6)
    assert desk.look().canary.share == 0.6
    desk.ship(canary)
    assert where(canary) == [model]  # also before a worker has looked

    seen = desk.look()

    assert (seen.in_step, seen.seen_checkpoint_id, seen.model, seen.canary) == (True, canary, model, None)
    assert (loads(vllm), list(vllm.adapters)) == ([], [model])
    assert where(served) == []


def test_a_canary_that_is_taken_back_drains_and_is_unloaded(desk, vllm, served, canary):
    execute("UPDATE serving_targets SET settings = settings || '{\"drain_seconds\": 3600}'")
    model = desk.target().canary.model
    desk.ship()
    ending = desk.target()
    assert (ending.canary.state, ending.canary.desired_checkpoint_id, ending.in_step) == ("ending", None, False)

    seen = desk.look()
    assert (seen.in_step, seen.canary, seen.draining, len(vllm.adapters)) == (True, None, [model], 2)
    assert where(canary) == []

    execute("UPDATE serving_targets SET loaded = jsonb_set(loaded, '{1,unload_at}', '\"2026-01-01T00:00:00+00:00\"')")
    assert desk.look().draining == []
    assert list(vllm.adapters) == [seen.model]


def test_a_canary_of_another_checkpoint_takes_its_place_while_the_one_before_drains(desk, vllm, served, canary):
    execute("UPDATE serving_targets SET settings = settings || '{\"drain_seconds\": 3600}'")
    third = desk.checkpoint()
    desk.ship(third, share=0.2)

    seen = desk.look()

    assert (seen.in_step, seen.canary.seen_checkpoint_id, len(seen.draining)) == (True, third, 1)
    assert len(vllm.adapters) == 3  # the live one, the canary and the one that drains
    assert where(canary) == []


@pytest.mark.parametrize("fault", [{"load_status": 500}, {"lies": {"weights 2": "base"}}, {"hang_after_load": True}])
def test_a_canary_that_cannot_be_loaded_is_told_and_tried_again_and_leaves_the_live_one_alone(
    desk, vllm, served, fault, monkeypatch
):
    execute("UPDATE serving_targets SET settings = settings || '{\"load_seconds\": 0.3}'")
    [live] = vllm.adapters
    second = desk.checkpoint()
    desk.ship(second, share=0.2)
    for name, value in fault.items():
        setattr(vllm, name, value)

    seen = desk.look()

    assert (seen.state, seen.reason, seen.seen_checkpoint_id, seen.attempts) == ("serving", None, served, 0)
    assert (seen.in_step, seen.canary.in_step, seen.canary.attempts) == (False, False, 1)
    assert seen.canary.state == ("away" if "hang_after_load" in fault else "failed")
    assert live in vllm.adapters
    assert (where(served), where(second)) == ([live], [])
    [(pause,)] = execute("SELECT extract(epoch FROM next_try_at - now()) FROM serving_targets")
    assert 0 < pause <= 5

    monkeypatch.setattr(shown, "ALARM", timedelta(0))
    with transaction() as session:
        notices = runs.readiness(session, DESK).notices
    monkeypatch.undo()
    assert any("target gpu does not serve" in notice for notice in notices)

    for name in fault:
        setattr(vllm, name, type(vllm)().__dict__[name])
    seen = desk.look()
    assert (seen.in_step, seen.canary.seen_checkpoint_id, seen.canary.attempts) == (True, second, 0)


def test_the_alarm_of_a_canary_names_the_canary(desk, vllm, served, monkeypatch):
    vllm.load_status = 500
    desk.ship(desk.checkpoint(), share=0.2)
    desk.look()
    execute("UPDATE serving_sightings SET seen_at = now() + interval '6 minutes' WHERE role = 'live'")
    monkeypatch.setattr(shown, "now", lambda: now() + timedelta(minutes=6))

    target = desk.target()

    assert (target.alarm, target.canary.alarm) == (True, True)
    sentence = serving.alarm_of(target)
    assert sentence.startswith("target gpu does not serve the canary since ")
    assert "it answered 500" in sentence


def test_a_server_that_is_away_is_asked_once_and_has_its_canary_again_when_it_is_back(desk, vllm, served, canary):
    settings = '"http://127.0.0.1:9"'
    execute(f"UPDATE serving_targets SET settings = jsonb_set(settings, '{{url}}', '{settings}')")
    away = desk.look()
    assert (away.state, away.canary.state, away.canary.seen_checkpoint_id) == ("away", "away", canary)
    assert where(canary) == where(served) == []

    execute(f"UPDATE serving_targets SET settings = jsonb_set(settings, '{{url}}', '\"{vllm.url}\"')")
    vllm.restart()
    assert desk.look().in_step
    assert len(vllm.adapters) == 2


def test_a_folder_has_a_second_pointer_while_there_is_a_canary(desk):
    first, second = desk.checkpoint(), desk.checkpoint()
    desk.ship(first)
    desk.add(kind="folder", adapters="as_they_are")
    desk.look()
    live, canary = (desk.publish / DESK / f"gpu.{role}" for role in ("current", "canary"))
    assert not os.path.lexists(canary)

    desk.ship(second, share=0.2)
    seen = desk.look()
    assert (seen.in_step, seen.canary.model, seen.canary.probe.verdict) == (True, str(canary), "not_comparable")
    assert [(link / "adapter_model.safetensors").read_text() for link in (live, canary)] == ["weights 1", "weights 2"]

    desk.ship(second)
    seen = desk.look()
    assert (seen.in_step, seen.model, seen.canary) == (True, str(live), None)
    assert ((live / "adapter_model.safetensors").read_text(), os.path.lexists(canary)) == ("weights 2", False)


def test_a_target_that_leaves_canaries_out_says_so_and_is_in_step(desk, vllm, served, canary):
    settings = desk.target().settings.model_copy(update={"canaries": "left_out"})
    with transaction() as session:
        serving.change(session, DESK, "gpu", wire.ServingTargetChange(settings=settings))

    seen = desk.look()

    assert (seen.in_step, seen.canary.state, seen.canary.in_step, seen.alarm) == (True, "left_out", True, False)
    assert "leaves canaries out" in seen.canary.reason
    assert (list(vllm.adapters), where(canary)) == ([seen.model], [])


def test_a_server_cannot_hold_full_weights_as_a_canary_beside_the_live_ones(desk, vllm):
    desk.add(kind="vllm", url=vllm.url, full_weights="by_restart")
    assert desk.look().in_step  # the base model
    pointer = desk.publish / DESK / "gpu.current"
    before = os.readlink(pointer)
    desk.ship(desk.checkpoint(kind="weights"), share=0.2)

    seen = desk.look()

    assert (seen.in_step, seen.canary.state) == (True, "left_out")
    assert "cannot hold two models with full weights" in seen.canary.reason
    assert os.readlink(pointer) == before


def test_a_server_with_too_few_slots_for_a_canary_is_noticed(desk, vllm):
    few = desk.add(kind="vllm", url=vllm.url, max_loras=2, drain_seconds=30)
    assert any("--max-loras 3" in notice for notice in few.notices)
    for enough in ({"max_loras": 3, "drain_seconds": 30}, {"max_loras": 2}, {"max_loras": 1, "canaries": "left_out"}):
        name = f"gpu-{len(enough)}-{enough['max_loras']}"
        assert desk.add(name, kind="vllm", url=vllm.url, **enough).notices == []


def test_a_release_ends_what_takes_long_for_the_one_before(desk, vllm, served, monkeypatch):
    third, slow = desk.checkpoint(), desk.checkpoint()
    desk.ship(slow, share=0.2)
    monkeypatch.setenv("THUMBWHEEL_LEASE_SECONDS", "1")
    forget_settings()

    def merging(artifact, files, layers, heed):
        desk.ship(third)
        for _ in range(100):
            heed()
            time.sleep(0.1)

    monkeypatch.setattr(visit, "publish", merging)
    begun = time.monotonic()
    desk.look()
    monkeypatch.undo()
    forget_settings()

    assert time.monotonic() - begun < 5
    [(due,)] = execute("SELECT next_try_at <= now() AND lease_owner IS NULL FROM serving_targets")
    assert due
    assert desk.look().seen_checkpoint_id == third
    assert len(vllm.adapters) == 1


@pytest.mark.parametrize(
    ("kind", "steps"),
    [("vllm", 4), *(pytest.param(kind, 40, marks=pytest.mark.trial) for kind in ("vllm", "sglang"))],
)
def test_after_any_history_a_target_has_what_the_ledger_says_and_nothing_else(desk, kind, steps):
    """A random walk of releases, restarts and refusals: without a fault, one look is enough."""
    dice = random.Random(kind)
    checkpoints = [desk.checkpoint() for _ in range(4)]
    with stand_in(kind) as server:
        server.probes = desk.probes
        desk.ship(checkpoints[0])
        desk.add(kind=kind, url=server.url)
        for _ in range(steps):
            step(desk, server, checkpoints, dice)
            server.load_status, server.lies = 0, None

            seen = desk.look()

            live, canary = seen.desired_checkpoint_id, seen.canary and seen.canary.desired_checkpoint_id
            assert seen.in_step, seen
            assert (seen.seen_checkpoint_id, seen.canary and seen.canary.seen_checkpoint_id) == (live, canary)
            models = {seen.model, *([seen.canary.model] if seen.canary else [])} - {"base-model"}
            assert {model.rpartition(":")[2] for model in models} == set(server.adapters)
            assert (where(live), where(canary)) == ([seen.model], [seen.canary.model] if seen.canary else [])


def step(desk, server, checkpoints, dice) -> None:
    """Makes one to three things happen, each with or without a look, in which the server may refuse or lie."""
    for _ in range(dice.randint(1, 3)):
        act = dice.choice(["ship", "share", "share", "back", "restart"])
        try:
            if act == "restart":
                server.restart()
            elif act == "back":
                desk.ship()
            else:
                desk.ship(dice.choice(checkpoints), share=dice.choice([0.1, 0.5]) if act == "share" else None)
        except Refused:
            pass  # it is live already, for example
        if dice.random() < 0.5:
            server.load_status = dice.choice([0, 0, 500])
            server.lies = dice.choice([None, None, "base", 0.2])
            desk.look()
