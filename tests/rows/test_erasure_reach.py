"""Erasures and snapshots: what is erased is in no byte of any file that is left, and in no table."""

import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from app import settings
from tests.logged import store
from tests.rows.desk import DESK, checkpoint, make_project
from tests.rows.test_erasures import ask, finish, tables_with

KINDS = ({"kind": "thumbs", "value": "up"}, {"kind": "thumbs", "value": "down"}, {"kind": "copy"}, {"kind": "reject"})
ACTORS = 12


@pytest.fixture(autouse=True)
def _project(database):
    make_project()


def name_of(actor: int) -> str:
    return f"actor {actor:03}"


def words_of(actor: int) -> str:
    """In everything that the actor says, and in nothing else."""
    return f"secret{actor:03}x"


def files() -> set[Path]:
    """Of the artifact store, whose files of other tests are still there."""
    return {path for path in Path(settings.current().artifacts).rglob("*") if path.is_file()}


def said(rng: random.Random, count: int, first: int = 0) -> list[dict[str, object]]:
    """Events of several actors about completions that they partly share, with texts of each of them."""
    events = []
    for number in range(first, first + count):
        actor, completion = rng.randrange(ACTORS), rng.randrange(count * 2 // 3)
        own = words_of(actor)
        signal = rng.choice(
            (
                *KINDS,
                {"kind": "edit", "text": f"{own} would say it otherwise, {completion}."},
                {"kind": "preference", "rejected": f"{own} did not like {completion}."},
            )
        )
        event = {"event_id": f"v{number}", "completion_id": f"c{completion}", "actor": name_of(actor), "signal": signal}
        if signal["kind"] == "preference" or rng.random() < 0.7:
            event |= {"prompt": f"What of {completion}?", "completion": f"{own} was told {completion % 7}."}
        if rng.random() < 0.3:
            event["metadata"] = {"note": own}
        events.append(event)
    return events


def texts_of(paths: set[Path]) -> dict[str, str]:
    """The bytes of each file, or the values of a parquet file, as text."""
    found = {}
    for path in paths:
        raw = path.read_bytes()
        found[path.name] = str(pq.read_table(path).to_pylist()) if raw[:4] == b"PAR1" else raw.decode("latin-1")
    return found


@pytest.mark.parametrize("seed", range(3))
def test_erased_words_are_in_no_file_and_in_no_table(seed, tmp_path):
    rng, others = random.Random(seed), files()
    store(DESK, said(rng, 150))
    before = checkpoint(tmp_path / "1")
    store(DESK, said(rng, 50, first=150))
    checkpoint(tmp_path / "2")
    actors = rng.sample(range(ACTORS), 3)
    there = "".join(texts_of(files() - others).values())
    assert all(words_of(actor) in there for actor in actors)

    for actor in actors:
        certificate = finish(ask(name_of(actor))).certificate
        assert certificate.snapshots
        assert before in [one.checkpoint_id for one in certificate.checkpoints]

    left = texts_of(files() - others)
    for actor in range(ACTORS):
        if actor in actors:
            assert tables_with(words_of(actor)) == []
            assert [name for name, text in left.items() if words_of(actor) in text] == []
        else:
            assert any(words_of(actor) in text for text in left.values())
