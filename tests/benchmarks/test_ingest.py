"""`make bench-ingest`, in parts: its bodies are events, its clients count right, its figures are right."""

import asyncio

import pytest
from thumbwheel import wire

from app.access import service as access
from app.database import transaction
from app.project_setup import service as project_setup
from benchmarks.ingest.__main__ import slope
from benchmarks.ingest.bodies import COMPLETION, PROMPT, Bodies
from benchmarks.ingest.load import Load, closed, message, steady
from tests.served import served


def test_bodies_are_events_of_real_length_each_with_an_id_of_its_own() -> None:
    bodies = Bodies()
    events = [wire.Event.model_validate_json(bodies.body(number)) for number in range(200)]

    assert len({event.event_id for event in events}) == 200
    for event in events:
        assert isinstance(event.prompt, str)
        assert event.completion is not None
        assert 0.8 * PROMPT < len(event.prompt) < 1.2 * PROMPT
        assert 0.8 * COMPLETION < len(event.completion) < 1.2 * COMPLETION


@pytest.fixture
def key(database: str) -> str:
    with transaction() as session:
        project_setup.create(session, wire.NewProject(project="acme", base_model="/models/base", suites=[]))
        new = wire.NewKey(name="t", scopes=["feedback:write"], project="acme")
        return access.create_key(session, new, within=None).secret


def test_both_loads_count_every_answer(key: str) -> None:
    bodies = Bodies()

    def post(number: int) -> bytes:
        return message("/v1/feedback", bodies.body(number), key=key)

    with served() as url:
        busy = asyncio.run(closed(url, post, clients=4, seconds=0.2))
        even = asyncio.run(steady(url, post, clients=4, seconds=0.2, per_second=100))

    assert set(busy.statuses) == set(even.statuses) == {201}
    assert busy.statuses[201] == len(busy.latencies) >= 4
    assert even.statuses[201] == 20


def test_a_quantile_is_one_of_the_latencies() -> None:
    load = Load(seconds=2.0, latencies=[0.4, 0.1, 0.3, 0.2])

    assert (load.quantile(0.5), load.quantile(0.99), load.per_second) == (0.3, 0.4, 2.0)


def test_the_slope_of_memory_is_that_after_the_warm_up() -> None:
    samples = [(float(second), 50.0 if second < 20 else 100 + 0.25 * second) for second in range(101)]

    assert slope(samples) == pytest.approx(0.25)
