"""The settings that docker-compose.yml and .env.example document reach the containers."""

import os
import re
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from app import settings
from tests.conftest import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
EXAMPLE = set(re.findall(r"^#?((?:THUMBWHEEL|AWS)_[A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
#: Settings that the image fixes or that have no use in a container, each with its reason.
NOT_HANDED_ON = {
    "THUMBWHEEL_DATA_DIR": "the volume",
    "THUMBWHEEL_HOST": "every address of the container",
    "THUMBWHEEL_PORT": "the published port, on the host's side",
    "THUMBWHEEL_GATEWAY_PORT": "the published port, on the host's side",
    "THUMBWHEEL_URL": "inside a container the API is where the default says",
    "THUMBWHEEL_ALIVE_FILE": "set by the image",
    "THUMBWHEEL_POSTGRES_BIN": "no embedded servers in containers",
    "THUMBWHEEL_VALKEY_SERVER": "no embedded servers in containers",
    "THUMBWHEEL_MODELS": "a folder on the host",
    "THUMBWHEEL_BIND": "an address of the host",
}
ALIVE = ROOT / "deploy" / "alive"


def test_the_example_lists_every_setting_and_no_other() -> None:
    known = {*settings.names(), *settings.COMPOSE_NAMES}

    assert {name for name in EXAMPLE if name.startswith(settings.PREFIX)} == known


@pytest.mark.parametrize("service", ["api", "gateway", "worker", "beat", "migrate"])
def test_every_setting_of_the_example_reaches_its_container(service: str) -> None:
    handed_on = set(COMPOSE["services"][service]["environment"])

    assert handed_on >= EXAMPLE - set(NOT_HANDED_ON)


def test_the_folder_of_base_models_is_mounted_where_it_is_looked_into_and_loaded() -> None:
    for service in ("api", "worker"):
        assert any(":/models:ro" in volume for volume in COMPOSE["services"][service]["volumes"])


def test_no_health_check_starts_python() -> None:
    checks = [service.get("healthcheck", {}).get("test", []) for service in COMPOSE["services"].values()]
    image = re.findall(r"HEALTHCHECK.*?CMD (.*)", (ROOT / "Dockerfile").read_text())

    assert not [check for check in [*map(str, checks), *image] if re.search("python|celery", check)]


def alive(*arguments: str, **environment: str) -> int:
    return subprocess.run([ALIVE, *arguments], env=os.environ | environment, timeout=120, check=False).returncode


def test_a_worker_is_alive_while_its_file_is_fresh(tmp_path: Path) -> None:
    file = tmp_path / "alive"

    assert alive("worker", THUMBWHEEL_ALIVE_FILE=str(file)) == 1
    file.touch()
    assert alive("worker", THUMBWHEEL_ALIVE_FILE=str(file)) == 0
    os.utime(file, (time.time() - 120,) * 2)
    assert alive("worker", THUMBWHEEL_ALIVE_FILE=str(file)) == 1


def test_an_api_is_alive_while_it_answers_that_it_is_ready() -> None:
    status = 200

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/readyz"
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = str(server.server_address[1])
        assert alive("api", port) == 0
        status = 503
        assert alive("api", port) == 1
        server.shutdown()
    assert alive("api", port) == 1
