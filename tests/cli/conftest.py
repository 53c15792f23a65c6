"""The command line as users call it: arguments and variables in; exit code and two streams out."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import thumbwheel
from thumbwheel import Client, wire

from app import artifacts, settings
from app.access.service import first_admin_key
from app.checkpoints import service as checkpoints
from app.cli.main import main
from app.database import new_id, transaction
from app.snapshots.tables import Snapshot
from tests.conftest import forget_settings
from tests.served import served


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON document on stdout."""
        return json.loads(self.out)


@dataclass(frozen=True)
class CommandLine:
    """The command line with an environment. A call passes arguments, and variables that override the environment."""

    run: Callable[[list[str], dict[str, str]], Done]
    environment: dict[str, str]

    def __call__(self, *arguments: str | Path, **environment: str) -> Done:
        return self.run([str(argument) for argument in arguments], {**self.environment, **environment})

    def refused(self, *arguments: str | Path, **environment: str) -> str:
        """Requires exit code 2 and a single line on stderr, and returns that line."""
        done = self(*arguments, **environment)
        assert done.code == 2, done
        assert done.out == ""
        assert done.err.count("\n") == 1, done.err
        return done.err.strip()


def in_own_process(arguments: list[str], environment: dict[str, str]) -> Done:
    done = subprocess.run(
        [sys.executable, "-m", "app.cli.main", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    return Done(done.returncode, done.stdout, done.stderr)


class Screen(StringIO):
    """Output that commands take for a terminal."""

    def isatty(self) -> bool:
        return True


def on_a_terminal(arguments: list[str], environment: dict[str, str]) -> Done:
    """Runs a command in its own process on a terminal, which shows both of its streams: they are in `out`."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli.main", *arguments], stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    seen = b""
    try:
        while part := os.read(ours, 65536):
            seen += part
    except OSError:  # Linux raises this once the other end is closed
        pass
    os.close(ours)
    return Done(process.wait(), seen.decode(), "")


def in_this_process(
    arguments: list[str], environment: dict[str, str], output: Callable[[], StringIO] = StringIO, keys: str = ""
) -> Done:
    """Runs a command in this process, which saves the second that a new process takes to start.

    keys  what it reads from stdin
    """
    with pytest.MonkeyPatch.context() as patch, output() as out, StringIO() as err:
        patch.setattr(sys, "argv", ["thumbwheel", *arguments])
        patch.setattr(sys, "stdin", StringIO(keys))
        for name, value in environment.items():
            patch.setenv(name, value)
        settings.current.cache_clear()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
        patch.undo()
        settings.current.cache_clear()
        return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def with_these_settings_alone(arguments: list[str], environment: dict[str, str]) -> Done:
    """Runs a command in this process without the test servers and other settings than those in `environment`.

    No API may run in this process meanwhile: it would use these settings, too.
    """
    before = dict(os.environ)
    for name in before:
        if name.startswith("THUMBWHEEL_"):
            del os.environ[name]
    forget_settings()
    try:
        return in_this_process(arguments, environment)
    finally:
        os.environ.clear()
        os.environ.update(before)
        forget_settings()


def on_a_screen(cli: CommandLine, *arguments: str | Path) -> str:
    """Runs a command that succeeds as if at a terminal, and returns what it prints there."""
    done = in_this_process([str(argument) for argument in arguments], {**cli.environment, "COLUMNS": "160"}, Screen)
    assert done.code == 0, done
    return done.out


@pytest.fixture
def without_pauses(monkeypatch) -> None:
    """Makes commands repeat a failed call at once, where nothing that they wait for will change."""
    monkeypatch.setattr(thumbwheel, "Client", partial(Client, sleep=lambda _seconds: None))


@pytest.fixture
def bare(database) -> CommandLine:
    """The command line in a separate process, without a key, an API or servers."""
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("THUMBWHEEL_")}
    return CommandLine(in_own_process, {**surroundings, "PYTHONIOENCODING": "utf-8", "COLUMNS": "200"})


@pytest.fixture
def admin_key(database) -> str:
    with transaction() as session:
        key = first_admin_key(session)
    assert key is not None
    return key


@pytest.fixture(scope="module")  # not of the session: its relay would send the messages that other tests look for
def served_url(migrated) -> Iterator[str]:
    with served() as at:
        yield at


@pytest.fixture
def cli(served_url, admin_key) -> CommandLine:
    """The command line for an API behind a real socket, with an admin key and `acme` as the current project."""
    with Client(served_url, admin_key) as client:
        client.projects.create(
            wire.NewProject(
                suites=[],
                project="acme",
                base_model="/models/base",
                snapshot=wire.SnapshotRules(minimum_per_class=1),
                gates=wire.GateDocument(name="one rule", rules=[wire.GateRule(metric="auroc", above=0.5)]),
            )
        )
    return CommandLine(
        in_this_process,
        {
            "THUMBWHEEL_URL": served_url,
            "THUMBWHEEL_API_KEY": admin_key,
            "THUMBWHEEL_PROJECT": "acme",
        },
    )


@pytest.fixture
def client(cli) -> Iterator[Client]:
    """A Python client of the same API, with the same key and project."""
    names = ("THUMBWHEEL_URL", "THUMBWHEEL_API_KEY", "THUMBWHEEL_PROJECT")
    with Client(*(cli.environment[name] for name in names)) as client:
        yield client


@pytest.fixture
def registered(cli, client, tmp_path) -> Callable[..., UUID]:
    """A function: `registered(reasons=[…])` registers a checkpoint of `acme` with two files, as a run would."""

    def register(
        *,
        reasons: list[str] | None = None,
        files: Mapping[str, str] | None = None,
        scores: Mapping[str, Any] | None = None,
    ) -> UUID:
        hashes = dict(files or {})
        for name, content in {"adapter_model.safetensors": b"weights", "README.md": b"# card"}.items():
            (tmp_path / name).write_bytes(content)
            hashes[name] = artifacts.put(tmp_path / name).sha256
        reference = client.releases.current().checkpoint_id
        with transaction() as session:
            snapshot = Snapshot(project_id="acme", sha256=new_id().hex * 2, watermark=1, files={}, manifest={})
            session.add(snapshot)
            session.flush()
            return checkpoints.register(
                session,
                project="acme",
                run_id=new_id(),
                snapshot_id=snapshot.id,
                reference_id=reference,
                weights_sha256="0" * 64,
                files=hashes,
                manifest={
                    "kind": "adapter",
                    "scores": {"auroc": {"value": 0.71, "low": 0.6, "high": 0.8}, **(scores or {})},
                    "verdict": "refused" if reasons else "passed",
                    "reasons": reasons or [],
                },
            ).id

    return register
