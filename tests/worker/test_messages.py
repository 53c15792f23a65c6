"""Messages: the workers know the tasks of `app.messages` and no others, and a relay sends what was committed."""

import ast
import inspect
import os
from pathlib import Path
from uuid import uuid4

import pytest
import redis

from app import outbox, services
from app.cli.stack import celery_command
from app.database import transaction
from app.messages import HOUSEKEEPING, LOOK_AT_RUN, RUNS, TASKS, TICK
from tests.desk import make_project, messages, request, shown, vote

ROOT = Path(__file__).parents[2]
#: Seconds after which a wait counts as a hang.
PATIENCE = 240


def strings_of(path: Path) -> list[str]:
    constants = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
    return [constant.value for constant in constants if isinstance(constant.value, str)]


@pytest.fixture(scope="module")
def registered(migrated):
    """The tasks of the workers by name, without those of Celery."""
    from worker.main import app  # reads the settings

    app.loader.import_default_modules()
    return {name: task for name, task in app.tasks.items() if not name.startswith("celery.")}


def test_the_workers_register_exactly_the_tasks_of_messages(registered):
    assert set(registered) == {task.name for task in TASKS}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_task_takes_the_arguments_that_its_messages_have_and_goes_to_its_queue(registered, task):
    function = registered[task.name]

    assert tuple(inspect.signature(function.run).parameters) == task.arguments
    assert function.app.amqp.router.route({}, task.name)["queue"].name == task.queue


def test_no_other_file_has_the_name_of_a_task_as_a_string():
    names = {task.name for task in TASKS}
    files = [path for folder in ("app", "worker") for path in (ROOT / folder).rglob("*.py")]

    assert {path.relative_to(ROOT) for path in files if names & set(strings_of(path))} == {Path("app/messages.py")}


@pytest.mark.parametrize("arguments", [{}, {"run": uuid4()}, {"run_id": uuid4(), "erasure_id": uuid4()}])
def test_a_message_with_other_arguments_than_its_task_has_is_not_written(database, arguments):
    with pytest.raises(TypeError, match=r"look_at_run takes the arguments \('run_id',\)"), transaction() as session:
        outbox.put(session, LOOK_AT_RUN, **arguments)

    with transaction() as session:
        assert outbox.waiting(session) == (0, None)


@pytest.fixture
def never_polls(monkeypatch):
    """Lets relays send only when a commit wakes them."""
    monkeypatch.setattr(outbox, "RETRY_SECONDS", 2 * PATIENCE)


def sent(servers, queue=HOUSEKEEPING) -> int:
    with redis.Redis.from_url(servers.redis_url) as client:
        return client.llen(queue)


@pytest.mark.usefixtures("database", "never_polls")
def test_a_relay_sends_a_message_once_its_transaction_has_committed(servers):
    with outbox.relay(), transaction() as session:
        outbox.put(session, TICK)
        with session.begin_nested():
            pass
        assert sent(servers) == 0
        session.commit()

        assert services.wait_until(lambda: sent(servers) == 1, PATIENCE)
    assert messages() == []


def put_and_fail() -> None:
    with transaction() as session:
        outbox.put(session, TICK)
        session.flush()
        raise LookupError


@pytest.mark.usefixtures("database", "never_polls")
def test_the_messages_of_a_transaction_that_is_undone_are_not_sent(servers):
    with outbox.relay():
        with pytest.raises(LookupError):
            put_and_fail()
        with transaction() as session:
            outbox.put(session, LOOK_AT_RUN, run_id=uuid4())

    assert (sent(servers), sent(servers, RUNS)) == (0, 1)


@pytest.mark.usefixtures("database", "never_polls")
def test_a_relay_sends_what_was_committed_before_it_ends(servers):
    for _ in range(3):
        with outbox.relay(), transaction() as session:
            outbox.put(session, TICK)

    assert sent(servers) == 3
    assert messages() == []


@pytest.mark.trial
def test_a_worker_alone_has_the_run_behind_a_failed_one_go_on(migrated, database, tmp_path):
    make_project(base_model=tmp_path / "nothing")
    vote()
    first, second = request(), request(queue=True)
    assert second.waiting
    outbox.deliver()
    environment = os.environ | migrated.environment | {"PYTHONWARNINGS": "ignore"}

    with (tmp_path / "log").open("wb") as log:
        worker = services.Process("worker", celery_command("worker", RUNS), environment=environment, output=log)
    try:
        ended = services.wait_until(lambda: shown(second.id).state == "failed", PATIENCE)
    finally:
        worker.stop(PATIENCE)

    assert ended, (tmp_path / "log").read_text()
    assert shown(first.id).state == "failed"
