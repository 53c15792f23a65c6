"""Every import contract holds on the code as it is, and breaks on the import that it forbids."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]

#: Contract → the module that gets a wrong line, and the line. A module that isn't there is made.
BREACHES = {
    "app-without-worker": ("app/labels/policy.py", "import torch"),
    "worker-without-web": ("worker/tasks.py", "import app.web"),
    "layers": ("app/utils.py", "STRAY = 1"),
    "inside-a-domain": ("app/feedback/tables.py", "import app.feedback.service"),
    "own-store": ("app/loop/service.py", "import app.runs.store"),
    "pure": ("app/runs/states.py", "import app.database"),
    "trainer-knows-files": ("worker/kto/train.py", "import app.settings"),
    "supervisor-without-torch": ("worker/execute.py", "import worker.kto.train"),
    "light-client": ("client/thumbwheel/wire/values.py", "import sqlalchemy"),
}


@pytest.fixture(scope="module")
def clean_copy(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("copy")
    for part in ("app", "worker", "tools", "client/thumbwheel"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def lint(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Check the copy, not the packages that are installed."""
    program = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-cache", *options],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PYTHONPATH": f"{folder}:{folder / 'client'}", "PATH": "/usr/bin:/bin", "COLUMNS": "200"},
    )


def test_every_contract_has_a_breach_here():
    assert {contract["id"] for contract in CONTRACTS} == set(BREACHES)


def test_the_code_as_it_is_keeps_every_contract(clean_copy):
    done = lint(clean_copy)

    assert done.returncode == 0, done.stdout + done.stderr
    for contract in CONTRACTS:
        assert f"{contract['name']} KEPT" in done.stdout


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract["id"])
def test_a_contract_breaks_on_the_import_that_it_forbids(clean_copy, tmp_path, contract):
    folder = tmp_path / "copy"
    shutil.copytree(clean_copy, folder)
    module, line = BREACHES[contract["id"]]
    path = folder / module
    path.write_text((path.read_text() if path.exists() else "") + f"\n{line}\n")

    done = lint(folder, "--contract", contract["id"])

    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{contract['name']} BROKEN" in done.stdout
