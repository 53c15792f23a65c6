"""The gateway in front of a real vLLM: the fields that it asks for are there, and hold what the log needs.

`make verify-vllm VLLM=/path/to/venv/bin/vllm`; see tests/serving/test_real_servers.py.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app import services
from app.gateway.main import create_gateway
from tests.desk import DESK, make_project
from tests.gateway.conftest import Served, add_target, live, make_key, see
from tests.served import in_a_thread

pytestmark = [pytest.mark.trial, pytest.mark.xdist_group("transformers serve")]

VLLM = os.environ.get("VLLM", "")
SHAPE = {
    "hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}  # fmt: skip
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


@pytest.fixture(scope="module")
def vllm(tmp_path_factory) -> Iterator[str]:
    from tests.trainer import tiny

    folder: Path = tmp_path_factory.mktemp("vllm")
    model = tiny.save_model(folder / "model", **SHAPE)
    (folder / "template").write_text(TEMPLATE)
    port = services.free_port()
    command = [
        VLLM, "serve", model, "--served-model-name", "model-gpu", "--host", "127.0.0.1", "--port", str(port),
        "--dtype", "float32", "--max-model-len", "128", "--enforce-eager", "--chat-template", folder / "template",
    ]  # fmt: skip
    environment = {
        **os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "2",
    }  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(services.tethered(command), stdout=log, stderr=log, env=environment)

    def ready() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).is_success
        except httpx.HTTPError:
            return False

    try:
        assert services.wait_until(lambda: ready() or process.poll() is not None, 500)
        assert process.poll() is None, (folder / "log").read_text()[-3000:]
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.skipif(not VLLM, reason="VLLM names no program of vLLM: see make verify-vllm")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_vllm_gives_a_token_id_and_a_log_prob_for_each_token(database, vllm, path, stream):
    make_project()
    add_target("gpu", vllm, live())
    see("gpu", live())
    what = {"messages": [{"role": "user", "content": "1 refund:"}]} if "chat" in path else {"prompt": "1 refund:"}

    with in_a_thread(create_gateway) as url:
        served = Served(url, make_key("gateway:use"), live(), stack=None)
        body = {"model": DESK, **what, "max_tokens": 8, "temperature": 1, "seed": 3, "stream": stream}
        headers = {"Authorization": f"Bearer {served.key}"}
        answer = httpx.post(f"{url}{path}", json=body, headers=headers, timeout=120)
        assert answer.status_code == 200, answer.text
        stored = served.registered(answer.headers["X-Thumbwheel-Completion-Id"])

    assert "token_ids" not in answer.text
    assert '"logprobs":{' not in answer.text
    assert stored.token_ids is not None, answer.text
    assert len(stored.token_ids) == len(stored.log_probs) == 8
    assert all(lp <= 0 for lp in stored.log_probs)
    assert stored.sampling["finish_reason"] == "length"
