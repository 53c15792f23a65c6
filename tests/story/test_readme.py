"""The README's shell blocks, run as a new user would type them, against a running Thumbwheel."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.stack import Stack

pytestmark = [pytest.mark.trial, pytest.mark.xdist_group("stack")]

ROOT = Path(__file__).parents[2]


def shell_blocks(markdown: str) -> list[str]:
    """Returns the blocks marked ``sh``; blocks marked ``console`` are only for reading."""
    return re.findall(r"^```sh\n(.*?)^```$", markdown, re.DOTALL | re.MULTILINE)


@pytest.mark.timeout(600)
def test_the_readmes_commands_lead_from_an_event_to_a_release_and_back(stack: Stack, tmp_path: Path) -> None:
    script = "set -euo pipefail\n" + "\n".join(shell_blocks((ROOT / "README.md").read_text()))
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    programs = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "THUMBWHEEL_URL": stack.base_url,
        "THUMBWHEEL_API_KEY": stack.admin_key or "",
    }

    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert '"action":"ship"' in done.stdout
    assert "rollback" in done.stdout
