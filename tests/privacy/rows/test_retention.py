"""Retention in Postgres: months that expire, what stays of them, and workers that die in between."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError
from thumbwheel import wire

from app import settings
from app.database import now, transaction
from app.feedback import service as feedback
from app.feedback.copying import service as copying
from app.feedback.expiry import service as expiry
from app.labels.previews import service as previews
from app.privacy.holds import service as holds
from app.privacy.retention import records
from app.privacy.retention import service as retention
from app.privacy.retention.preview import preview
from app.project_setup import service as project_setup
from tests.desk import DESK, execute, make_project
from tests.logged import record, register, store

BY = "key officer"
TEXT = {"prompt": "Where is it?", "completion": "There."}
OLD, YOUNG = datetime(2024, 3, 10, tzinfo=UTC), datetime(2024, 4, 10, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _project(database: str) -> Iterator[None]:
    make_project()
    yield
    for name in ("events_2024_03", "events_2024_04"):
        execute(f"DROP TABLE IF EXISTS {name}")


def thumb(number: int, *, completion: str | None = None, value: str = "up", actor: str = "ann", **more: Any) -> Any:
    return {
        "event_id": f"e{number}",
        "completion_id": completion or f"c{number}",
        "actor": actor,
        "signal": {"kind": "thumbs", "value": value},
        **more,
    }


def received(at: datetime, events: list[Any], project: str = DESK) -> None:
    """Stores events as if they had been received at this time, in the partition of their month."""
    [(last,)] = execute("SELECT coalesce(max(position), 0) FROM event_ids WHERE project_id = :p", p=project)
    with transaction() as session:
        first = max(feedback.watermark(session, project), last) + 1
        rows = [
            wire.CopiedEvent.model_validate({**event, "position": first + number, "received_at": at})
            for number, event in enumerate(events)
        ]
        copying.copy_in(session, project, rows)


def keep(months: int | None, project: str = DESK, snapshots: str = "redact") -> None:
    rules = {"months": months, "snapshots": snapshots}
    with transaction() as session:
        project_setup.change(session, project, wire.ProjectChange.model_validate({"retention": rules}), BY)


def plan() -> None:
    with transaction() as session:
        retention.plan(session)


def unfinished(project: str = DESK) -> list[wire.ExpiredMonth]:
    with transaction() as session:
        return retention.get(session, project).unfinished


def work(projects: tuple[str, ...] = (DESK,)) -> None:
    """Begins what has expired and does it, like a worker that receives one message after another."""
    plan()
    for _ in range(200):
        records = [record for project in projects for record in unfinished(project)]
        if not records:
            return
        for each in records:
            retention.advance(each.id)
    raise AssertionError(unfinished())


def done(project: str = DESK) -> list[wire.ExpiredMonth]:
    with transaction() as session:
        return retention.page(session, project, cursor=None, limit=50).items


def ids(project: str = DESK) -> list[str]:
    return [row[0] for row in execute("SELECT event_id FROM events WHERE project_id = :p ORDER BY position", p=project)]


def partitions() -> set[str]:
    return {
        row[0]
        for row in execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'events'::regclass")
    }


def hold(project: str = DESK, **new: Any) -> wire.LegalHold:
    with transaction() as session:
        return holds.place(session, project, wire.NewHold(reason="case 4 O 12/26", **new), BY)


def release(placed: wire.LegalHold) -> None:
    with transaction() as session:
        holds.release(session, placed.project, placed.id, "settled", BY, limited=True)


# -- months -----------------------------------------------------------------------------------------------------------


def test_a_month_that_is_no_longer_kept_goes_with_its_partition_and_the_ids_of_its_events_stay():
    received(OLD, [thumb(1), thumb(2)])
    store(DESK, [thumb(3)])
    keep(13)

    work()

    [month] = [each for each in done() if each.month == "2024-03"]
    assert (month.state, month.events, month.dropped) == ("done", 2, True)
    assert "events_2024_03" not in partitions()
    assert ids() == ["e3"]
    assert [answer.status for answer in record(DESK, [thumb(1)])] == ["erased"]
    [entry] = execute("SELECT about, by, project FROM operator_actions WHERE about ->> 'month' = '2024-03'")
    assert (entry.about["events"], entry.about["months"], entry.by, entry.project) == (2, 13, "retention", DESK)


def test_nothing_is_deleted_without_a_rule_or_within_the_months_that_are_kept():
    received(now().replace(day=1) - timedelta(days=1), [thumb(1)])
    plan()
    assert unfinished() == []

    keep(1)
    work()

    assert ids() == ["e1"]


def test_a_partition_is_dropped_whole_when_the_month_has_expired_for_all_of_its_projects():
    make_project("other")
    received(OLD, [thumb(1)])
    received(OLD, [thumb(2), thumb(3)], "other")
    keep(13)
    keep(12, "other")
    plan()
    [mine] = [each for each in unfinished() if each.month == "2024-03"]

    retention.advance(mine.id)  # of one project: it does the month for both

    assert "events_2024_03" not in partitions()
    work((DESK, "other"))
    months = {
        (each.project, each.events, each.dropped) for each in (*done(), *done("other")) if each.month == "2024-03"
    }
    assert months == {(DESK, 1, True), ("other", 2, True)}


def test_rows_of_a_project_that_keeps_the_month_stay_beside_those_that_are_deleted(monkeypatch):
    monkeypatch.setattr(records, "AT_ONCE", 2)
    make_project("other")
    received(OLD, [thumb(number) for number in range(5)])
    received(OLD, [thumb(9)], "other")
    keep(13)

    work()

    [month] = [each for each in done() if each.month == "2024-03"]
    assert (month.events, month.dropped) == (5, False)
    assert (ids(), ids("other")) == ([], ["e9"])

    keep(13, "other")
    work(("other",))
    assert "events_2024_03" not in partitions()


def test_events_without_a_partition_of_their_month_expire_too():
    store(DESK, [thumb(1)])
    execute("ALTER TABLE events DISABLE TRIGGER refuse_update")
    execute("UPDATE events SET received_at = :at", at=OLD)
    execute("ALTER TABLE events ENABLE TRIGGER refuse_update")
    keep(13)

    work()

    assert ids() == []


def test_a_label_after_retention_is_that_of_a_log_that_never_had_the_expired_events():
    register(DESK, "c", TEXT)
    received(
        OLD, [thumb(1, completion="c", value="down", actor="ann"), thumb(2, completion="c", value="down", actor="bob")]
    )
    young = [
        thumb(3, completion="c", value="up", actor="cid"),
        thumb(4, completion="c", signal={"kind": "retract"}, actor="ann"),
    ]
    store(DESK, young)
    make_project("fresh")
    register("fresh", "c", TEXT)
    store("fresh", young)
    keep(13)

    work()

    with transaction() as session:
        mine, fresh = (previews.explain(session, project, "c") for project in (DESK, "fresh"))
    assert (mine.label, mine.weight, mine.reasons) == (fresh.label, fresh.weight, fresh.reasons)
    assert is_registered("c")


def is_registered(completion_id: str) -> bool:
    return bool(
        execute("SELECT FROM completions WHERE project_id = :p AND completion_id = :id", p=DESK, id=completion_id)
    )


def test_registered_texts_go_once_no_event_that_is_left_refers_to_them():
    for name in ("judged", "rejected", "forgotten"):
        register(DESK, name, TEXT)
    execute("ALTER TABLE completions DISABLE TRIGGER refuse_update")
    execute("UPDATE completions SET received_at = :at", at=OLD)
    execute("ALTER TABLE completions ENABLE TRIGGER refuse_update")
    received(OLD, [thumb(1, completion="forgotten")])
    preference = {"kind": "preference", "rejected_completion_id": "rejected"}
    store(DESK, [thumb(2, completion="judged", signal=preference)])
    keep(13)

    work()

    assert sum(each.completions for each in done()) == 1
    assert [is_registered(name) for name in ("judged", "rejected", "forgotten")] == [True, True, False]


# -- interrupted ------------------------------------------------------------------------------------------------------


def test_a_worker_that_dies_in_any_step_leaves_nothing_half_done(monkeypatch):
    received(OLD, [thumb(1), thumb(2)])
    received(YOUNG, [thumb(3)])
    keep(13)
    plan()
    for step in retention.STEPS:
        at_step = [each for each in unfinished() if each.step == step]
        for each in at_step:
            before = (ids(), partitions())

            with monkeypatch.context() as patched:
                patched.setattr(retention, "STEPS", {**retention.STEPS, step: partial(dying, retention.STEPS[step])})
                retention.advance(each.id)
            assert (ids(), partitions()) == before
            [same] = [other for other in unfinished() if other.id == each.id]
            assert (same.step, same.trouble) == (step, f"Step {step}: RuntimeError.")
            retention.advance(each.id)
    work()
    assert ids() == []
    assert sorted((each.month, each.events) for each in done() if each.events) == [("2024-03", 2), ("2024-04", 1)]


def dying(step: Any, *of: Any) -> None:
    step(*of)
    raise RuntimeError("killed")


def test_a_reader_of_the_log_is_not_disturbed_and_writers_do_not_wait_for_it():
    received(OLD, [thumb(1)])
    keep(13)
    plan()
    [month] = [each for each in unfinished() if each.month == "2024-03"]
    with psycopg.connect(settings.current().need_libpq_database()) as reader:
        reader.execute("SELECT count(*) FROM events")  # its lock lasts until the end of its transaction

        retention.advance(month.id)

        assert unfinished()[0].trouble is not None
        store(DESK, [thumb(2)])
    work()
    assert ids() == ["e2"]


def test_a_finished_record_never_changes():
    received(OLD, [thumb(1)])
    keep(13)
    work()

    for change in ("UPDATE expired_months SET certificate = '{}'", "DELETE FROM expired_months"):
        with pytest.raises(DBAPIError, match="never changed"):
            execute(change)


def test_a_rule_that_was_changed_back_stops_what_has_not_begun():
    received(OLD, [thumb(1)])
    keep(13)
    plan()
    keep(None)

    work()

    assert ids() == ["e1"]


# -- held -------------------------------------------------------------------------------------------------------------


def test_what_a_hold_covers_stays_until_its_release_and_the_rest_of_the_month_goes():
    received(
        OLD, [thumb(1, actor="eve"), thumb(2, completion="c1", actor="ann"), thumb(3), thumb(4, completion="kept")]
    )
    keep(13)
    on_eve, on_completion = hold(actor="eve"), hold(completion_id="kept")

    work()

    [month] = [each for each in done() if each.month == "2024-03"]
    assert ids() == ["e1", "e2", "e4"]  # also what others said about the answer that eve judged
    assert (month.events, month.held) == (1, [on_eve.id, on_completion.id])
    work()
    assert len([each for each in done() if each.month == "2024-03"]) == 1  # nothing is begun again meanwhile
    release(on_eve)
    work()
    assert ids() == ["e4"]


def test_nothing_of_a_held_project_expires_not_even_what_had_begun():
    received(OLD, [thumb(1)])
    keep(13)
    plan()
    placed = hold()

    for each in unfinished():
        retention.advance(each.id)

    assert ids() == ["e1"]
    assert str(placed.id) in (unfinished()[0].trouble or "")
    release(placed)
    work()
    assert ids() == []


# -- preview and copies -----------------------------------------------------------------------------------------------


def test_a_preview_counts_what_would_go_and_deletes_nothing():
    received(OLD, [thumb(1), thumb(2)])
    received(YOUNG, [thumb(3, actor="eve")])
    placed = hold(actor="eve")

    with transaction() as session:
        shown = preview(session, DESK, wire.RetentionRules(months=13))

    assert [(each.month, each.events, each.droppable) for each in shown.months] == [
        ("2024-03", 2, True), ("2024-04", 1, False),
    ]  # fmt: skip
    assert (shown.events, shown.held, shown.held_whole) == (3, [placed.id], False)
    assert len(ids()) == 3


def test_a_copy_brings_back_no_month_that_the_project_no_longer_keeps():
    keep(13)
    rows = [
        wire.CopiedEvent.model_validate({**thumb(1), "position": 1, "received_at": OLD}),
        wire.CopiedEvent.model_validate({**thumb(2), "position": 2, "received_at": now()}),
    ]

    with transaction() as session:
        receipt = copying.copy_in(session, DESK, rows)

    assert (receipt.stored, receipt.expired, receipt.replayed) == (1, 1, 0)
    assert "events_2024_03" not in partitions()


def test_positions_of_expired_events_are_not_given_again():
    received(OLD, [thumb(1), thumb(2)])
    keep(13)
    work()

    with transaction() as session:
        receipt = copying.copy_in(
            session, DESK, [wire.CopiedEvent.model_validate({**thumb(3), "position": 3, "received_at": now()})]
        )

    assert receipt.stored == 1


@pytest.mark.parametrize(
    ("months", "at", "first"),
    [(1, datetime(2026, 1, 31, tzinfo=UTC), "2025-12-01"), (13, datetime(2026, 11, 30, tzinfo=UTC), "2025-10-01")],
)
def test_whole_months_are_kept(months: int, at: datetime, first: str):
    assert f"{expiry.keeps_from(months, at):%Y-%m-%d}" == first
