"""Child processes end with their parent, and a folder belongs to one process."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from app import services
from app.errors import Conflict, Unavailable
from app.services import processes

PARENT = """
import subprocess, sys
from app.services import tethered
child = subprocess.Popen(tethered([sys.executable, "-c", "import time; time.sleep(600)"]), start_new_session=True)
print(child.pid, flush=True)
child.wait()
"""

OWNER = """
import time
from app import services
with services.temporary() as folder:
    print(folder, flush=True)
    time.sleep(600)
"""

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


def lives(pid: int) -> bool:
    """Returns whether a process is alive; a zombie is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_tethered_child_ends_with_its_killed_parent():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert lives(child)

    parent.kill()
    parent.communicate()

    assert services.wait_until(lambda: not lives(child), 120)


def test_stopping_a_process_ends_its_whole_group_also_when_it_does_not_listen(tmp_path):
    with (tmp_path / "log").open("wb") as log:
        process = services.Process("stubborn", [sys.executable, "-c", STUBBORN], output=log)
    assert services.wait_until(lambda: (tmp_path / "log").read_text().endswith("\n"), 120)
    grandchild = int((tmp_path / "log").read_text())
    assert process.alive()

    code = process.stop(0.1)

    assert code == -signal.SIGKILL
    assert services.wait_until(lambda: not lives(grandchild), 120)
    assert not process.alive()
    assert process.stop() == code


def test_a_program_that_is_not_there_is_named():
    with pytest.raises(Unavailable, match="/no/such/program does not exist"):
        services.tethered(["/no/such/program"])


def test_a_claimed_folder_is_free_again_when_the_block_ends(tmp_path):
    with (
        services.claimed(tmp_path / "data") as folder,
        pytest.raises(Conflict, match=f"in use by process {os.getpid()}"),
        services.claimed(folder),
    ):
        pass
    with services.claimed(tmp_path / "data") as again:
        assert again == folder


def test_a_temporary_folder_of_a_killed_process_is_swept_away_and_a_living_one_is_not():
    script = (
        "import time; from app import services\nwith services.temporary() as f: print(f, flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    folder = Path(owner.stdout.readline().strip())
    assert folder.parent == Path(tempfile.gettempdir())

    services.sweep()
    assert folder.exists()
    owner.kill()
    owner.communicate()
    services.sweep()

    assert not folder.exists()


def test_the_first_closed_folder_on_the_way_is_found(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o600)

    found = processes.first_closed_to("nobody", closed / "inside" / "deeper")

    assert found in {closed, *closed.parents}
