"""Adapters of the real trainer on real servers: `transformers serve`, and vLLM where a machine has it.

vLLM's own wheel needs CUDA, and its CPU build conflicts with this environment, so it is started from an environment of
its own: `make verify-vllm VLLM=/path/to/venv/bin/vllm`.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from thumbwheel import wire

from app import artifacts, services
from app.checkpoints import service as checkpoints
from app.database import new_id, transaction
from app.releases import service as releases
from app.serving import service as serving
from tests.desk import DESK, execute, make_project
from worker.serving.sync import sync

pytestmark = [pytest.mark.trial, pytest.mark.xdist_group("transformers serve")]

VLLM = os.environ.get("VLLM", "")
#: A tiny model that vLLM accepts: its heads have 32 numbers.
SHAPE = {
    "hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}  # fmt: skip


@pytest.fixture(scope="module")
def base_model(tmp_path_factory) -> Path:
    from tests.trainer import tiny

    return tiny.save_model(tmp_path_factory.mktemp("base") / "model", **SHAPE)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, base_model) -> list[Path]:
    """The WORKDIRs of two trained and scored adapters of one base model."""
    from tests.trainer import tiny
    from worker.evaluation.score import score
    from worker.training.train import train

    workdirs = []
    for seed in (1, 2):
        rows = tiny.text_rows(seed=seed)
        quick = {"kl_prompts": 0, "bootstrap": 100, "replay": 0}
        workdir = tmp_path_factory.mktemp("trained") / "w"
        tiny.stage(
            workdir, base_model, rows, rows, method="lora", learning_rate=0.05, epochs=4, evaluation=quick,
            lora={"rank": 4, "alpha": 16, "rslora": seed == 2},
        )  # fmt: skip
        train(workdir)
        score(workdir)
        workdirs.append(workdir)
    return workdirs


@pytest.fixture
def register(database, base_model) -> Callable[[Path], object]:
    make_project(base_model=base_model)

    def registered(workdir: Path) -> object:
        places = {path.name: path for path in (workdir / "output").iterdir()} | {"probe.json": workdir / "probe.json"}
        files = {name: artifacts.put(path).sha256 for name, path in places.items()}
        manifest = {"kind": "adapter", "verdict": "passed", "reasons": [], "scores": {}}
        with transaction() as session:
            row = checkpoints.register(
                session,
                project=DESK,
                run_id=new_id(),
                snapshot_id=None,
                reference_id=checkpoints.register_base(session, DESK).id,
                weights_sha256=files["adapter_model.safetensors"],
                files=files,
                manifest=manifest | {"training": {"base_fingerprint": "f" * 64}},
            )
            return row.id

    return registered


def add(**settings: object) -> None:
    new = wire.NewServingTarget.model_validate({"name": "real", "settings": {"drain_seconds": 0, **settings}})
    with transaction() as session:
        serving.create(session, DESK, new, "key test")


def look() -> wire.ServingTarget:
    execute("UPDATE serving_targets SET next_try_at = now() - interval '1 s'")
    with transaction() as session:
        target = serving.get(session, DESK, "real")
    sync(target.id)
    with transaction() as session:
        return serving.get(session, DESK, "real")


def ship(checkpoint_id: object = None, share: float | None = None) -> wire.ServingTarget:
    how = {"rollback": True} if checkpoint_id is None else {"checkpoint_id": checkpoint_id, "share": share}
    with transaction() as session:
        releases.ship(session, DESK, wire.NewRelease.model_validate(how), "key test")
    return look()


def test_transformers_serve_gets_merged_models_and_is_probed_by_its_continuations(
    transformers_serve, trained, register, tmp_path
):
    add(kind="transformers", url=transformers_serve, publish_folder=str(tmp_path / "published"))
    first, second = map(register, trained)

    served = [ship(first), ship(second), ship()]

    for target, checkpoint_id in zip(served, (first, second, first), strict=True):
        assert (target.in_step, target.seen_checkpoint_id) == (True, checkpoint_id), target.reason
        assert (target.probe.verdict, target.probe.way, target.probe.told_apart) == ("ok", "greedy", True)
        assert target.probe.agreeing >= 5 > target.probe.base_agreeing
        answer = httpx.post(
            f"{target.url}/completions",
            json={"model": target.model, "prompt": "1 refund:", "max_tokens": 4},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
    assert served[0].model == served[2].model != served[1].model

    beside = ship(second, share=0.5)
    assert (beside.in_step, beside.model) == (True, served[0].model)
    assert (beside.canary.model, beside.canary.probe.verdict) == (served[1].model, "ok")
    assert (ship().canary, ship().probe.verdict) == (None, "ok")  # the canary ends; then the base model


@pytest.fixture(scope="module")
def vllm(base_model, tmp_path_factory) -> Iterator[str]:
    """The address of vLLM with the base model and three slots for adapters."""
    port = services.free_port()
    log = tmp_path_factory.mktemp("vllm") / "log"
    command = [
        VLLM, "serve", base_model, "--served-model-name", "support-desk", "--host", "127.0.0.1", "--port", str(port),
        "--dtype", "float32", "--max-model-len", "128", "--enforce-eager", "--enable-lora", "--max-lora-rank", "16",
        "--max-loras", "3", "--max-cpu-loras", "4",
    ]  # fmt: skip
    environment = {
        **os.environ, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "2",
    }  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(services.tethered(command), stdout=output, stderr=output, env=environment)

    def answers() -> bool:
        assert process.poll() is None, log.read_text()[-4000:]
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health").is_success
        except httpx.TransportError:
            return False

    try:
        assert services.wait_until(answers, seconds=900), log.read_text()[-4000:]
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def names_at(server: str) -> list[str]:
    return [card["id"] for card in httpx.get(f"{server}/v1/models").json()["data"]]


@pytest.mark.skipif(not VLLM, reason="VLLM names no program of vLLM: see make verify-vllm")
def test_vllm_loads_proves_drains_and_forgets_adapters(vllm, trained, register, tmp_path):
    add(kind="vllm", url=vllm, publish_folder=str(tmp_path / "published"), load_seconds=300)
    base = look()
    assert (base.in_step, base.model, base.probe.verdict) == (True, "support-desk", "not_comparable"), base.reason
    first, second = map(register, trained)

    served = [ship(first), ship(second), ship()]

    for target, checkpoint_id in zip(served, (first, second, first), strict=True):
        assert (target.in_step, target.seen_checkpoint_id) == (True, checkpoint_id), target.reason
        assert (target.probe.verdict, target.probe.way, target.probe.told_apart) == ("ok", "log_probs", True)
        assert target.probe.max_nats < 1e-3 < target.probe.base_max_nats
        print(checkpoint_id, target.probe)  # noqa: T201 - the figures of a real server
    assert names_at(vllm) == ["support-desk", served[2].model]

    # A canary beside it, taken back, and once more until it is live for all.
    for taken_back in (True, False):
        beside = ship(second, share=0.5)
        assert (beside.in_step, beside.model) == (True, served[2].model), beside.canary
        assert (beside.canary.model, beside.canary.probe.verdict) == (served[1].model, "ok")
        assert beside.canary.probe.max_nats < 1e-3 < beside.canary.probe.base_max_nats
        assert names_at(vllm) == ["support-desk", served[2].model, served[1].model]
        print(second, beside.canary.probe)  # noqa: T201 - the figures of a real server
        if taken_back:
            assert ship().canary is None
            assert names_at(vllm) == ["support-desk", served[2].model]
    assert (ship(second).model, names_at(vllm)) == (served[1].model, ["support-desk", served[1].model])
    assert ship().model == served[2].model

    # A server that lost it, and one whose adapter is another under the same name.
    httpx.post(f"{vllm}/v1/unload_lora_adapter", json={"lora_name": served[2].model})
    assert look().in_step
    httpx.post(f"{vllm}/v1/unload_lora_adapter", json={"lora_name": served[2].model})
    other = next(
        path for path in (tmp_path / "published" / DESK).iterdir() if not served[2].model.endswith(path.name[:12])
    )
    httpx.post(f"{vllm}/v1/load_lora_adapter", json={"lora_name": served[2].model, "lora_path": str(other)})
    wrong = look()
    assert (wrong.state, "another folder under the name" in wrong.reason) == ("failed", True)
    httpx.post(f"{vllm}/v1/unload_lora_adapter", json={"lora_name": served[2].model})
    assert look().in_step

    ended = ship()
    assert (ended.model, ended.probe.verdict) == ("support-desk", "ok")
    assert ended.probe.max_nats < 1e-3


@pytest.mark.skipif(not VLLM, reason="VLLM names no program of vLLM: see make verify-vllm")
@pytest.mark.parametrize("kind", [{"use_dora": True}, {"rank": 32}])
def test_vllm_answers_500_to_what_is_refused_before_training(vllm, base_model, tmp_path, kind):
    from tests.trainer import tiny

    adapter = tiny.save_adapter(tmp_path / "adapter", base_model, **kind)

    answer = httpx.post(
        f"{vllm}/v1/load_lora_adapter", json={"lora_name": "refused", "lora_path": str(adapter)}, timeout=60
    )

    assert answer.status_code == 500, answer.text
