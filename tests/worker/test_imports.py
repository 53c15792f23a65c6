"""Imports in processes of their own: killed, frozen and cancelled ones, on a real log."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from thumbwheel import wire

from app import artifacts, settings
from app.database import transaction
from app.errors import Unavailable
from app.feedback.import_jobs import job
from app.feedback.import_jobs import service as imports
from app.feedback.import_jobs.intake_log import IntakeLog
from app.feedback.import_jobs.leases import service as leases
from app.services import wait_until
from tests.desk import execute, make_project
from worker.imports import ImportProcesses

PATIENCE = 60
DO = """
import sys, uuid
from app.feedback.import_jobs import job
job.EVERY_SECONDS = 0.2
job.do(uuid.UUID(sys.argv[1]), sys.argv[2], lambda: False)
"""
VOTES = 6000


def rows():
    """Yields votes, equal ones, changed ones, completions and broken ones, in turns."""
    for number in range(VOTES):
        vote = {"prompt": f"Question {number}?", "completion": "Yes.", "label": number % 2 == 0, "user_id": "ann"}
        if number % 10 == 3:
            vote |= {"id": f"vote-{number}", "timestamp": "2026-03-01T10:00:00Z"}
            yield vote
            yield vote | {"label": number % 2 == 1, "timestamp": "2026-03-02T10:00:00Z"}
        elif number % 10 == 5:
            yield vote | {"id": f"vote-{number}"}
            yield vote | {"id": f"vote-{number}"}
        elif number % 10 == 7:
            yield {"prompt": "Hi"}
        elif number % 10 == 8:
            run = {"run_type": "llm", "inputs": {"messages": [{"role": "user", "content": "Hi"}]}, "extra": {}}
            yield run | {"id": f"run-{number}", "outputs": {"output": "Hello!"}}
        else:
            yield vote


CONTENT = "".join(json.dumps(row) + "\n" for row in rows()).encode()


def requested(project: str) -> UUID:
    """Uploads the file and requests its import; returns the id."""
    import_id, content = uuid4(), io.BytesIO(CONTENT)
    upload = artifacts.Upload(import_id)
    while piece := content.read(1 << 16):
        upload.write(piece)
    upload.keep()
    values = {
        "id": import_id, "name": "rows.jsonl", "size": upload.size, "sha256": upload.sha256, "limits": [],
        "fingerprint": uuid4().hex, "options": wire.ImportOptions().model_dump(mode="json"), "dry_run": False,
    }  # fmt: skip
    with transaction() as session:
        imports.request(session, project, "a test", values)
    return import_id


def shown(project: str, import_id: UUID) -> wire.Import:
    with transaction(read_only=True) as session:
        return imports.get(session, project, import_id)


def logged(project: str) -> list[tuple]:
    """Returns what the log has, without positions and times of receipt."""
    query = text(
        "SELECT event_id, completion_id, actor, signal::text, supersedes FROM events WHERE project_id = :project "
        "UNION ALL SELECT completion_id, prompt::text, completion, '', '' FROM completions WHERE project_id = :project "
        "ORDER BY 1, 2"
    )
    with transaction(read_only=True) as session:
        return [tuple(row) for row in session.execute(query, {"project": project})]


def stored(project: str) -> int:
    with transaction(read_only=True) as session:
        query = text("SELECT count(*) FROM event_ids WHERE project_id = :project")
        return session.execute(query, {"project": project}).scalar_one()


def rejects(import_id: UUID) -> bytes:
    return b"".join(imports.reject_lines(import_id))


@pytest.fixture
def leases_of_a_second(monkeypatch):
    monkeypatch.setenv("THUMBWHEEL_LEASE_SECONDS", "1")
    settings.current.cache_clear()
    yield
    monkeypatch.undo()
    settings.current.cache_clear()


@pytest.mark.trial
@pytest.mark.usefixtures("database", "leases_of_a_second")
def test_the_import_of_killed_processes_ends_as_one_that_nothing_interrupted():
    make_project("calm")
    make_project("stormy")
    calm, stormy = requested("calm"), requested("stormy")
    job.do(calm, "calm", lambda: False)

    kills = 0
    for attempt in range(3):
        process = subprocess.Popen([sys.executable, "-c", DO, str(stormy), f"worker {attempt}"])
        seen = shown("stormy", stormy).progress.rows

        def counts_less_than_it_stored(process=process, seen=seen):
            progress = shown("stormy", stormy).progress
            return process.poll() is not None or (progress.rows > seen and stored("stormy") > progress.rows)

        assert wait_until(counts_less_than_it_stored, PATIENCE)
        kills += process.poll() is None
        process.kill()
        process.wait()
        assert wait_until(lambda: is_free(stormy), PATIENCE)
    job.do(stormy, "the last one", lambda: False)

    assert kills >= 2
    quiet, killed = shown("calm", calm), shown("stormy", stormy)
    assert (killed.state, killed.counts, killed.progress.rows) == ("done", quiet.counts, quiet.progress.rows)
    assert killed.files == quiet.files
    assert rejects(stormy) == rejects(calm)
    assert logged("stormy") == logged("calm")
    assert quiet.counts.superseded == quiet.counts.registered == quiet.counts.rejected == VOTES // 10
    assert quiet.counts.replayed == VOTES // 10


@pytest.mark.usefixtures("database")
def test_what_a_process_stored_before_its_end_counts_though_the_next_one_ends_before_it_comes_so_far(monkeypatch):
    make_project("calm")
    make_project("stormy")
    calm, stormy = requested("calm"), requested("stormy")
    job.do(calm, "calm", lambda: False)
    record, advance = IntakeLog.record, leases.advance
    recorded, written = [], []

    def two_batches(self, events):
        recorded.append(events)
        if len(recorded) > 3:  # events, their newer versions, events
            raise Unavailable("the first process ends without a position")
        return record(self, events)

    def one_position(session, lease, *how, **more):
        written.append(session)
        if len(written) == 1:
            return advance(session, lease, *how, **more)
        raise Unavailable("the second process ends behind its first position")

    with monkeypatch.context() as first:
        first.setattr(job, "EVERY_SECONDS", 3600.0)
        first.setattr(IntakeLog, "record", two_batches)
        job.do(stormy, "one", lambda: False)
    execute("UPDATE imports SET next_try_at = now()")
    with monkeypatch.context() as second:
        second.setattr(job, "EVERY_SECONDS", 0.0)
        second.setattr(leases, "advance", one_position)
        job.do(stormy, "two", lambda: False)
    assert shown("stormy", stormy).progress.rows == 500
    execute("UPDATE imports SET next_try_at = now()")
    job.do(stormy, "three", lambda: False)

    assert shown("stormy", stormy).state == "done"
    assert shown("stormy", stormy).counts == shown("calm", calm).counts


def is_free(import_id: UUID) -> bool:
    query = text("SELECT coalesce(lease_expires_at < now(), true) FROM imports WHERE id = :id")
    with transaction(read_only=True) as session:
        return session.execute(query, {"id": import_id}).scalar_one()


@pytest.mark.trial
@pytest.mark.usefixtures("database", "leases_of_a_second")
def test_a_frozen_process_is_killed_and_its_place_is_free_for_the_next(monkeypatch):
    monkeypatch.setattr("worker.imports.START_SECONDS", 6.0)
    make_project("calm")
    import_id = requested("calm")
    processes = ImportProcesses()

    assert processes.begin(import_id)
    assert not processes.begin(import_id)
    assert wait_until(lambda: shown("calm", import_id).progress.rows > 0, PATIENCE)
    os.kill(process_of(import_id), signal.SIGSTOP)
    assert wait_until(lambda: processes.begin(import_id), PATIENCE)

    assert wait_until(lambda: shown("calm", import_id).state == "done", PATIENCE)
    processes.close()
    assert shown("calm", import_id).counts.rejected == VOTES // 10


def process_of(import_id: UUID) -> int:
    commands = {path: path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")}
    return next(int(path.parent.name) for path, command in commands.items() if str(import_id).encode() in command)


@pytest.mark.usefixtures("database")
def test_a_worker_that_stops_gives_its_import_back_and_the_next_continues_at_once():
    make_project("calm")
    import_id = requested("calm")
    processes = ImportProcesses()
    processes.begin(import_id)
    assert wait_until(lambda: shown("calm", import_id).progress.rows > 0, PATIENCE)

    processes.close()
    given_back = shown("calm", import_id)
    job.do(import_id, "the next one", lambda: False)

    assert (given_back.state, given_back.reason) == ("queued", None)
    assert 0 < given_back.progress.rows < shown("calm", import_id).progress.rows
    assert shown("calm", import_id).counts.registered == VOTES // 10


@pytest.mark.usefixtures("database")
def test_a_cancelled_import_stops_within_a_batch_and_a_closed_project_ends_it(monkeypatch):
    make_project("calm")
    import_id = requested("calm")
    monkeypatch.setattr(job, "EVERY_SECONDS", 0.0)
    advance = leases.advance

    def cancelled(session, lease, *how, **more):
        listed = advance(session, lease, *how, **more)
        imports.cancel(session, "calm", import_id, "a test")
        return listed

    monkeypatch.setattr(leases, "advance", cancelled)
    job.do(import_id, "one", lambda: False)

    assert (shown("calm", import_id).state, shown("calm", import_id).progress.rows) == ("cancelled", 500)


@pytest.mark.usefixtures("database")
def test_an_import_waits_at_the_limit_of_its_project_until_its_worker_stops():
    make_project("calm", limits={"per_minute": 400})
    import_id = requested("calm")
    seen = []

    def waits() -> bool:
        seen.append(stored("calm"))
        return len(seen) > 5 and len(set(seen[-5:])) == 1  # it looks once a second while it waits

    job.do(import_id, "one", waits)

    assert shown("calm", import_id).state == "queued"
    assert 0 < stored("calm") <= 400


@pytest.mark.usefixtures("database")
def test_the_tick_finds_an_import_that_nobody_continues(monkeypatch):
    make_project("calm")
    import_id = requested("calm")
    with transaction() as session:
        imports.ring_due(session)
        session.execute(text("DELETE FROM outbox"))
        session.execute(text("UPDATE imports SET rung_at = now() - interval '2 minutes'"))
    with transaction() as session:
        imports.ring_due(session)
        rung = session.execute(text("SELECT arguments FROM outbox")).scalars().all()

    assert rung == [{"import_id": str(import_id)}]


@pytest.mark.usefixtures("database")
def test_an_import_whose_processes_are_lost_without_progress_fails_for_good():
    make_project("calm")
    import_id = requested("calm")
    for number in range(leases.MOST_ATTEMPTS):
        with transaction() as session:
            assert leases.claim(session, import_id, f"lost {number}") is not None
            session.execute(text("UPDATE imports SET lease_expires_at = now() - interval '1 second'"))

    job.do(import_id, "one more", lambda: False)

    assert shown("calm", import_id).state == "failed"
    assert "5 processes were lost" in (shown("calm", import_id).reason or "")


@pytest.mark.usefixtures("database")
def test_an_import_that_finds_no_room_begins_as_soon_as_another_one_has_ended(monkeypatch):
    monkeypatch.setattr("worker.imports.MOST", 1)
    begun: list[UUID] = []
    ended = threading.Event()

    def attend(_self, import_id: UUID) -> None:
        begun.append(import_id)
        ended.wait(PATIENCE)

    monkeypatch.setattr(ImportProcesses, "_attend", attend)
    processes = ImportProcesses()
    ids = [uuid4() for _ in range(4)]

    assert [processes.begin(import_id) for import_id in [*ids, *ids]] == [True, *[False] * 7]
    ended.set()

    assert wait_until(lambda: begun == ids, PATIENCE)
    processes.close()


@pytest.mark.usefixtures("database")
def test_the_download_of_a_killed_process_is_deleted_by_the_next_one():
    make_project("calm")
    import_id = requested("calm")
    downloads = settings.current().data_dir / "downloads"
    left = downloads / f"{import_id}-killed"
    left.mkdir(parents=True)
    (left / "rows").write_bytes(CONTENT)

    job.do(import_id, "one", lambda: True)

    assert list(downloads.iterdir()) == []
