"""Messages: the workers know the tasks of `app.messages` and no others, and a relay sends what was committed."""

import ast
import inspect
from pathlib import Path
from uuid import uuid4

import pytest

from app import outbox
from app.database import transaction
from app.messages import LOOK_AT_RUN, TASKS

ROOT = Path(__file__).parents[2]


def strings_of(path: Path) -> list[str]:
    constants = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
    return [constant.value for constant in constants if isinstance(constant.value, str)]


@pytest.fixture(scope="module")
def registered(migrated):
    """The workers' own tasks by name."""
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
