"""A worker processes a run with real processes in a real WORKDIR, without Celery."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from time import monotonic

import pytest
from sqlalchemy import text

from app import services, settings
from app.checkpoints.card import card
from app.checkpoints.samples import files as samples
from app.database import engine
from app.errors import StaleLease
from app.runs.states import RunState
from tests.desk import DESK, claim, execute, expire, make_project, messages, request, shown, vote
from tests.saved_models import saved_model
from worker import registration
from worker.children import halve_on_oom
from worker.children.heartbeat import Heartbeat, Wish
from worker.children.processes import Failed, Left, Lost, attend
from worker.children.progress import Follower, Lines
from worker.execute import look
from worker.staging.attempt_folders import run_folder
from worker.staging.workdir import stage
from worker.training.files.sealed import seal_of, write_seal, write_sealed


def never() -> bool:
    return False


@pytest.fixture
def base_model(tmp_path):
    return saved_model(tmp_path / "base")


@pytest.fixture
def run(database, base_model):
    make_project(base_model=base_model)
    vote()
    return request()


@pytest.fixture
def workdir(run):
    folder = run_folder(run.id) / "epoch-1"
    folder.mkdir(parents=True)
    return folder


def test_a_snapshot_of_what_was_erased_meanwhile_is_made_again(run, workdir):
    with ThreadPoolExecutor(1) as worker, engine().connect() as held:
        held.execute(text("SELECT FROM projects WHERE id = :id FOR NO KEY UPDATE"), {"id": DESK})
        attempt = worker.submit(look, run.id, never)
        end = monotonic() + 60
        while not list(workdir.glob(".snapshot.part")):
            assert monotonic() < end, "no snapshot was written"
        held.execute(text("UPDATE projects SET erasures = erasures + 1 WHERE id = :id"), {"id": DESK})
        held.commit()
        attempt.result()

    again = shown(run.id)
    assert again.state == "snapshotting"
    assert again.transitions[-1].kind == "lost"
    assert "was erased or expired" in again.transitions[-1].reason
    look(run.id, lambda: True)
    assert shown(run.id).snapshot_id is not None


def test_feedback_that_makes_no_snapshot_any_more_fails_the_run_with_the_reasons(run):
    execute("DELETE FROM events WHERE position > 3")

    look(run.id, never)

    ended = shown(run.id)
    assert ended.state == "failed"
    assert "makes no dataset to learn from" in (ended.reason or "")


def test_a_store_that_has_to_be_mended_fails_the_run_before_it_starts_and_says_what_to_mend(run, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("THUMBWHEEL_ARTIFACTS_URL", str(tmp_path / "file" / "store"))
    settings.current.cache_clear()

    look(run.id, never)

    monkeypatch.undo()
    settings.current.cache_clear()
    ended = shown(run.id)
    assert (ended.state, ended.snapshot_id) == ("failed", None)
    assert "point THUMBWHEEL_ARTIFACTS_URL at a folder" in (ended.reason or "")
    assert execute("SELECT count(*) FROM snapshots") == [(0,)]


@pytest.mark.trial
def test_a_worker_that_has_to_stop_gives_the_run_back_staged(run, base_model):
    look(run.id, lambda: True)

    assert shown(run.id).state == "snapshotting"
    # One for the request, one for the return; no relay sends them, since only worker processes have one.
    assert messages() == [str(run.id)] * 2
    workdir = run_folder(run.id) / "epoch-1"
    job = json.loads((workdir / "job.json").read_bytes())
    assert job["base_model"] == job["ancestor"] == str(base_model)
    assert job["reference"] == {"kind": "base"}

    (base_model / "config.json").unlink()
    look(run.id, never)
    assert shown(run.id).attempts == 2
    assert shown(run.id).state == "failed"


def test_a_run_that_somebody_has_is_left_alone(run):
    claimed = claim(run.id)

    look(run.id, never)

    assert shown(run.id).attempts == claimed.lease.epoch == 1


def test_a_crash_fails_the_run_with_the_last_line_that_was_said(run, workdir):
    claimed = claim(run.id)

    with Heartbeat(claimed.lease, never) as heart, pytest.raises(Failed) as failed:
        attend("trainer", "worker.no_such_module", workdir, heart, RunState.REFERENCING)

    assert "the trainer crashed with exit code 1: " in failed.value.cause
    assert "No module named worker.no_such_module" in failed.value.cause


def test_the_heart_sees_who_wants_the_run_to_end(run):
    claimed = claim(run.id)
    with Heartbeat(claimed.lease, lambda: True) as heart:
        assert heart.wish() is Wish.LEAVE
    with Heartbeat(claimed.lease, never) as heart:
        assert heart.wish() is None
        execute("UPDATE runs SET state = 'cancelling'")
        assert services.wait_until(lambda: heart.wish() is Wish.CANCEL, 120)
        expire(run.id)
        execute("UPDATE runs SET lease_owner = 'somebody else'")
        assert services.wait_until(lambda: heart.wish() is Wish.DROP, 120)


def test_lines_are_read_whole_and_a_replaced_file_from_its_beginning(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with closing(Lines(path)) as lines:
        assert lines.read() == ([], False)
        path.write_text('{"step": 1}\n{"step": 2}\n{"st')
        assert lines.read() == ([{"step": 1}, {"step": 2}], True)
        with path.open("a") as file:
            file.write('ep": 3}\n')
        assert lines.read() == ([{"step": 3}], False)

        # A resumed trainer cuts the lines of steps that it repeats, and writes more lines than before.
        (tmp_path / "aside").write_text('{"step": 1}\n' + '{"step": 22}\n' * 9)
        (tmp_path / "aside").replace(path)

        read, from_start = lines.read()
        assert from_start
        assert read == [{"step": 1}, *[{"step": 22}] * 9]


def test_progress_becomes_a_report_of_the_run_s_state_alone(tmp_path):
    progress = tmp_path / "progress.jsonl"

    def tell(phase: str, done: int, second: int) -> None:
        at = f"2026-11-21T10:00:{second:02}.000+00:00"
        with progress.open("a") as file:
            file.write(json.dumps({"phase": phase, "done": done, "total": 10, "at": at}) + "\n")

    tell("training", 9, 0)  # a line of an earlier attempt
    with closing(Follower(tmp_path)) as follower:
        assert not follower.read()
        tell("loading", 0, 1)
        assert follower.read()
        assert follower.report(RunState.TRAINING).done is None
        tell("training", 2, 10)
        tell("training", 6, 18)
        (tmp_path / "warnings.jsonl").write_text('{"step": 2, "code": "x", "message": "lower the learning rate"}\n')
        assert follower.read()

        report = follower.report(RunState.TRAINING)

        assert (report.done, report.total, report.eta_seconds) == (6, 10, 8.0)
        assert report.warnings == ["lower the learning rate"]
        assert report.dropped_rows is None
        follower.sent()
        assert not follower.read()

        write_sealed(tmp_path / "dropped-by-reason.json", b'[{"reason": "too_long", "count": 2}]')
        assert follower.read()
        assert follower.report(RunState.TRAINING).dropped_rows == [{"reason": "too_long", "count": 2}]
        follower.sent()
        assert not follower.read()
        assert follower.report(RunState.TRAINING).dropped_rows is None


@pytest.fixture
def trained(run, workdir):
    """A claimed run with its WORKDIR after trainer and scorer, with an automatic micro-batch size."""
    claimed = claim(run.id)
    stage(claimed, workdir)
    recipe = json.loads((workdir / "recipe.json").read_bytes())
    training = {"kind": "adapter", "weights_sha256": "ab" * 32, "steps": 3, "pairs_trained": None}
    judged = {"completion_id": ["c1", "c2"], "desirable": [True, False], "suspicion": [0.25, 0.5]}
    documents = {
        "recipe": {**recipe, "micro_batch_size": "auto"},
        "training": {**training, "recipe": {**recipe, "micro_batch_size": 4}},
        "scores": {"rows": 4},
        "suspicion": judged,
    }
    for name, content in documents.items():
        write_sealed(workdir / f"{name}.json", json.dumps(content).encode())
    (workdir / "output").mkdir()
    (workdir / "output" / "adapter_model.safetensors").write_text("weights")
    write_seal(seal_of(workdir / "output"), [workdir / "output" / "adapter_model.safetensors"])
    samples.write(workdir / "samples.parquet", samples.SCHEMA.empty_table())
    write_seal(seal_of(workdir / "samples.parquet"), [workdir / "samples.parquet"])
    return claimed, documents["training"]


@pytest.mark.parametrize("damage", [b"weightt", b"weight", b""])
def test_a_checkpoint_that_is_damaged_before_it_is_registered_fails_the_run(trained, run, workdir, damage):
    manifest = registration.manifest_of(trained[0], run.id, workdir)
    (workdir / "output" / "adapter_model.safetensors").write_bytes(damage)

    with pytest.raises(Failed, match=r"adapter_model\.safetensors is damaged .*: retry the run"):
        registration.store(manifest, workdir)


@pytest.mark.parametrize(
    "name", ["training.json", "scores.json", "output.sha256", "job.json", "snapshot/manifest.json"]
)
def test_a_document_that_is_damaged_before_it_is_registered_fails_the_run(trained, run, workdir, name):
    (workdir / name).write_bytes((workdir / name).read_bytes()[:-4])

    with pytest.raises(Failed, match=r"is damaged .*: retry the run"):
        registration.manifest_of(trained[0], run.id, workdir)


@pytest.mark.parametrize("missing", ["samples.parquet", "samples.parquet.sha256"])
def test_samples_that_are_damaged_before_they_are_registered_fail_the_run(trained, run, workdir, missing):
    manifest = registration.manifest_of(trained[0], run.id, workdir)
    (workdir / missing).unlink()

    with pytest.raises(Failed, match=r"samples\.parquet is damaged .*: retry the run"):
        registration.store(manifest, workdir)


def test_a_finished_workdir_becomes_a_manifest_with_the_recipe_as_it_was_trained_by(trained, run, workdir):
    claimed, training = trained

    manifest = registration.manifest_of(claimed, run.id, workdir)

    assert manifest["recipe"] == training["recipe"] == registration.recipe_of(workdir).model_dump(mode="json")
    assert {**manifest["training"], "recipe": training["recipe"]} == training
    assert manifest["snapshot"]["pairs"] == {"train": 0, "holdout": 0}
    assert "| micro_batch_size | 4 |" in card(manifest)
    stored = registration.store(manifest, workdir)
    assert set(stored) == {"adapter_model.safetensors", "manifest.json", "README.md", "samples.parquet"}
    assert registration.suspicions_of(workdir) == [("c1", True, 0.25), ("c2", False, 0.5)]


def test_the_figures_of_a_judge_are_part_of_the_manifest_and_missing_if_they_are_damaged(trained, run, workdir):
    without = registration.manifest_of(trained[0], run.id, workdir)
    write_sealed(workdir / "judge_scores.json", b'{"model": "judge", "pairs": 3}')
    judged = registration.manifest_of(trained[0], run.id, workdir)
    (workdir / "judge_scores.json").write_bytes(b'{"model": "judge", "pairs": 4}')
    damaged = registration.manifest_of(trained[0], run.id, workdir)

    assert judged["scores"] == {**without["scores"], "judge": {"model": "judge", "pairs": 3}}
    assert damaged == without


def test_the_trainer_learns_nothing_of_our_settings(run, workdir, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(workdir))
    (workdir / "says.py").write_text(
        "import json, os, sys\n"
        "json.dump({'code': 'said', 'message': str([n for n in os.environ if n.startswith('THUMBWHEEL')])},\n"
        "          open(sys.argv[1] + '/failure.json', 'w'))\n"
        "sys.exit(2)\n"
    )
    claimed = claim(run.id)

    with Heartbeat(claimed.lease, never) as heart, pytest.raises(Failed) as failed:
        attend("trainer", "says", workdir, heart, RunState.REFERENCING)

    assert failed.value.cause == "[]"
    assert claimed.project == DESK


# -- memory, output and leftovers -------------------------------------------------------------------------------------


def module(workdir, monkeypatch, source, name="says"):
    """Writes a stand-in for the trainer: some imports, WORKDIR as `w`, then `source`. Returns the module's name."""
    monkeypatch.setenv("PYTHONPATH", str(workdir))
    head = "import json, os, pathlib, resource, signal, subprocess, sys, time\nw = pathlib.Path(sys.argv[1])\n"
    (workdir / f"{name}.py").write_text(head + source)
    return name


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.fixture
def staged(run, workdir):
    """A claimed run with its WORKDIR and a recipe of 32 rows in micro-batches of 16."""
    claimed = claim(run.id)
    stage(claimed, workdir)
    recipe = {**json.loads((workdir / "recipe.json").read_bytes()), "batch_size": 32, "micro_batch_size": 16}
    write_sealed(workdir / "recipe.json", json.dumps(recipe).encode())
    return claimed


LACKS_MEMORY = """
from worker.training.files.sealed import write_sealed
size = json.loads((w / 'recipe.json').read_bytes())['micro_batch_size']
(w / 'tried').open('a').write(f'{size}\\n')
if size > FITS:
    (w / 'state').mkdir()
    write_sealed(w / 'reference.safetensors', str(size).encode())
    failure = {'code': 'out_of_memory', 'message': 'too many rows', 'micro_batch_size': size}
    (w / 'failure.json').write_text(json.dumps(failure))
    sys.exit(71)
"""


def test_where_memory_runs_out_it_is_tried_again_at_once_with_half_the_rows_and_reported(staged, workdir, monkeypatch):
    trainer = module(workdir, monkeypatch, LACKS_MEMORY.replace("FITS", "4"))

    with Heartbeat(staged.lease, never) as heart:
        halve_on_oom.train(workdir, heart, RunState.REFERENCING, trainer)

    assert (workdir / "tried").read_text().split() == ["16", "8", "4"]
    shrunk = shown(staged.lease.run_id)
    assert (shrunk.recipe.batch_size, shrunk.recipe.micro_batch_size) == (32, 4)
    notes = [line.reason for line in shrunk.transitions if line.kind == "shrunk"]
    assert notes == shrunk.warnings
    assert notes[0].startswith(
        "memory ran out with 16 rows at once: training begins again with a micro_batch_size of 8"
    )
    assert execute("SELECT lost, lease_epoch FROM runs") == [(0, 1)]
    # training begins again with the log-probs of the reference that were scored already
    assert not (workdir / "state").exists()
    scored = sorted(path.read_text() for path in (workdir / "scored-before").glob("*.safetensors"))
    assert scored == ["16", "8"]
    lines = (workdir / "warnings.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 0]


def test_where_two_rows_are_too_many_the_run_fails_and_says_what_to_change(staged, workdir, monkeypatch):
    trainer = module(workdir, monkeypatch, LACKS_MEMORY.replace("FITS", "0"))

    with Heartbeat(staged.lease, never) as heart, pytest.raises(Failed) as failed:
        halve_on_oom.train(workdir, heart, RunState.REFERENCING, trainer)

    assert (workdir / "tried").read_text().split() == ["16", "8", "4", "2"]
    assert failed.value.cause.startswith("memory ran out with 2 rows at once (micro_batch_size), and there cannot be")
    assert "lower max_length (it is 1024)" in failed.value.cause


def test_a_scorer_that_lacks_memory_is_started_again_and_the_recipe_stays(staged, workdir, monkeypatch):
    before = (workdir / "recipe.json").read_bytes()
    scorer = module(workdir, monkeypatch, "t = w / 'tried'\nif not t.exists():\n    t.touch()\n    sys.exit(71)\n")

    with Heartbeat(staged.lease, never) as heart:
        halve_on_oom.score(workdir, heart, RunState.EVALUATING, scorer)

    last = shown(staged.lease.run_id).transitions[-1]
    assert last.kind == "shrunk"
    assert "memory ran out while the holdout was scored" in last.reason
    assert (workdir / "recipe.json").read_bytes() == before


@pytest.mark.parametrize(("end", "raised"), [("sys.exit(1)", Failed), ("os.kill(os.getpid(), signal.SIGKILL)", Lost)])
def test_the_last_lines_of_a_process_that_did_not_end_well_are_kept(run, workdir, monkeypatch, end, raised):
    says = "for n in range(60):\n    print(f'line {n}\\0', file=sys.stderr)\nsys.stderr.flush()\n"
    trainer = module(workdir, monkeypatch, says + end)
    claimed = claim(run.id)

    with Heartbeat(claimed.lease, never) as heart, pytest.raises(raised):
        attend("trainer", trainer, workdir, heart, RunState.REFERENCING)

    assert shown(run.id).said == "\n".join(f"line {n}" for n in range(20, 60))


def test_a_damaged_checkpoint_is_in_the_history_once(run, workdir, monkeypatch):
    line = json.dumps({"step": 3, "code": "state_damaged", "message": "step-000006 did not verify"})
    tells = f"(w / 'warnings.jsonl').open('a').write('''{line}\\n''')\nsys.exit(75)"
    trainer = module(workdir, monkeypatch, tells)
    claimed = claim(run.id)

    with Heartbeat(claimed.lease, never) as heart:
        for _ in range(2):
            with pytest.raises(Left):
                attend("trainer", trainer, workdir, heart, RunState.REFERENCING)

    notes = [line.reason for line in shown(run.id).transitions if line.kind == "noted"]
    assert notes == ["step-000006 did not verify"]


def test_the_trainer_leaves_no_core_and_takes_no_more_memory_than_it_may(run, workdir, monkeypatch):
    monkeypatch.setenv("THUMBWHEEL_TRAINER_MEMORY_GB", "1.5")
    settings.current.cache_clear()
    limits = "{n: resource.getrlimit(getattr(resource, 'RLIMIT_' + n)) for n in ('CORE', 'DATA')}"
    tells = f"(w / 'failure.json').write_text(json.dumps({{'message': str({limits})}}))\nsys.exit(2)"
    trainer = module(workdir, monkeypatch, tells)
    claimed = claim(run.id)

    with Heartbeat(claimed.lease, never) as heart, pytest.raises(Failed) as failed:
        attend("trainer", trainer, workdir, heart, RunState.REFERENCING)

    monkeypatch.undo()
    settings.current.cache_clear()
    assert failed.value.cause == "{'CORE': (0, 0), 'DATA': (1500000000, 1500000000)}"


def test_a_worker_that_loses_the_lease_kills_the_trainer_with_all_that_it_started(run, workdir, monkeypatch):
    trainer = module(
        workdir,
        monkeypatch,
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "(w / 'part').write_text(f'{os.getpid()} {child.pid}')\n"
        "(w / 'part').rename(w / 'pids')\n"
        "time.sleep(600)\n",
    )
    claimed = claim(run.id)

    with Heartbeat(claimed.lease, never) as heart, ThreadPoolExecutor(1) as worker:
        attempt = worker.submit(attend, "trainer", trainer, workdir, heart, RunState.REFERENCING)
        assert services.wait_until((workdir / "pids").exists, 120)
        pids = [int(pid) for pid in (workdir / "pids").read_text().split()]
        assert all(map(alive, pids))
        execute("UPDATE runs SET lease_owner = 'somebody else'")
        with pytest.raises(StaleLease):
            attempt.result(60)

    assert services.wait_until(lambda: not any(map(alive, pids)), 120)
