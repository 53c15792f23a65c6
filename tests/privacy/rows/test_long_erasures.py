"""Erasures in bounded parts: more events than Postgres takes parameters, and workers that die between parts."""

import psycopg
import pytest
from thumbwheel import wire

from app import settings
from app.database import transaction
from app.labels.quarantine import service as quarantine
from app.privacy.erasures import service as erasures
from app.privacy.erasures import steps
from tests.desk import DESK, checkpoint, execute, make_project, vote
from tests.logged import register, store
from tests.privacy.rows.test_erasures import BY, ask, shown, tables_with, thumb


@pytest.fixture(autouse=True)
def _project(database):
    make_project()


def work_until(erasure: wire.Erasure, done) -> wire.Erasure:
    for _ in range(60):
        erasures.advance(erasure.id)
        if done(shown(erasure)):
            return shown(erasure)
    raise AssertionError(shown(erasure))


@pytest.mark.trial
def test_an_actor_with_70_000_events_is_erased():
    with psycopg.connect(settings.current().need_libpq_database(), autocommit=True) as connection:
        connection.execute(
            """
            WITH filled AS (
                INSERT INTO events (project_id, event_id, completion_id, actor, signal, metadata, position, received_at)
                SELECT 'desk', 'v' || n, 'c' || n, 'eve', '{"kind": "copy"}', '{}', n, now()
                FROM generate_series(1, 70000) AS n
                RETURNING project_id, event_id, position, received_at)
            INSERT INTO event_ids SELECT * FROM filled
            """
        )

    done = work_until(ask(), lambda shown: shown.state == "done")

    assert done.certificate.events == 70_000
    assert execute("SELECT count(*) FROM events") == [(0,)]
    assert execute("SELECT count(*) FROM event_ids") == [(70_000,)]


def words_of(actor: str) -> str:
    return f"the parcel of {actor} at 7 Elm Street"


def feedback_of(actor: str, first: int) -> None:
    """Stores feedback for many parts: votes on own and on others' texts, edits, registered texts, a decision."""
    own = words_of(actor)
    texts = [{"prompt": f"Where is {own}, {n}?", "completion": f"Here is {own}, {n}."} for n in range(9)]
    store(DESK, [thumb(actor, f"{actor}{n}", **texts[n]) for n in range(9)])
    store(DESK, [thumb(actor, f"c{n}") for n in range(first, first + 4)])
    edits = {f"c{n}": {"kind": "edit", "text": f"{own}, {n}."} for n in range(first, first + 5)}
    store(DESK, [{**thumb(actor, at), "event_id": f"edit {actor} {at}", "signal": edits[at]} for at in edits])
    for number in range(3):
        register(DESK, f"{actor}{number}", texts[number])
    with transaction() as session:
        new = wire.NewQuarantineDecision(actor=actor, decision="released", reason="looks like a person")
        quarantine.decide(session, DESK, new, BY)


def die_and_come_back(erasure: wire.Erasure) -> None:
    """Loses the message for the next part with the worker, and lets the tick send it again after the worker's time."""
    execute("DELETE FROM outbox")
    execute("UPDATE erasures SET next_attempt_at = now()")
    with transaction() as session:
        erasures.ring_due(session)
    assert (str(erasure.id),) in execute("SELECT arguments ->> 'erasure_id' FROM outbox WHERE task LIKE '%erase'")


def comparable(certificate: wire.Certificate) -> dict:
    """Returns a certificate without the values that differ between erasures of two actors with the same feedback."""
    left = certificate.model_dump(exclude={"event_ids", "checkpoints", "tables"})
    left["snapshots"] = [
        (redacted["rows"], [shard for shard in redacted["shards"] if "for-pairs" not in shard])
        for redacted in left["snapshots"]
    ]
    return left | {"ids": len(certificate.event_ids), "tables": {table.table for table in certificate.tables}}


def test_an_erasure_in_small_parts_with_a_death_after_each_ends_with_the_same_certificate(tmp_path, monkeypatch):
    vote()
    feedback_of("eve", 0)
    feedback_of("bob", 10)
    checkpoint(tmp_path)
    whole = work_until(ask("bob"), lambda shown: shown.state == "done").certificate
    assert (whole.events, whole.completions, whole.quarantine_decisions) == (18, 3, 1)
    monkeypatch.setattr(steps, "AT_ONCE", 2)
    monkeypatch.setattr(steps, "SNAPSHOTS", 1)

    erasure = ask("eve")
    parts = 0
    while shown(erasure).state != "done":
        erasures.advance(erasure.id)
        die_and_come_back(erasure)
        parts += 1

    assert parts > 30
    assert comparable(shown(erasure).certificate) == comparable(whole)
    assert tables_with(words_of("eve")) == []
    assert execute("SELECT count(*) FROM erased_completions") == [(0,)]
