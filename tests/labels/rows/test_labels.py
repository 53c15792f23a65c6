"""Labels of a log in Postgres: late signals, rejected completions of preferences, filters, approval."""

import json
from typing import NamedTuple
from uuid import UUID

import pytest
from thumbwheel import wire
from thumbwheel.wire import LabelPolicy

from app.database import transaction
from app.feedback import service as feedback
from app.feedback.reading.service import LogTexts
from app.labels import resolving
from app.labels import service as labels
from app.labels.audits.rows import labellings, texts_of
from app.labels.service import EVERYTHING
from app.labels.summaries import service as summaries
from app.labels.whole_log import resolve
from app.projects.tables import Project
from tests.bare_project import CONFIGURATION
from tests.logged import register, store

P = "desk"
ONE, TWO = UUID(int=1), UUID(int=2)


@pytest.fixture(autouse=True)
def _project(database):
    with transaction() as session:
        session.add(Project(id=P, base_model="/models/base", configuration=CONFIGURATION))


def event(completion_id: str, signal: dict | str, *, actor: str = "ann", text: str | None = None, **more) -> dict:
    body = {"completion_id": completion_id, "actor": actor, **more}
    body["signal"] = {"kind": "thumbs", "value": signal} if isinstance(signal, str) else signal
    if text is not None:
        body |= {"prompt": "Where is it?", "completion": text}
    return body


def say(*events: dict) -> int:
    """Stores events and returns the watermark after them."""
    store(P, events)
    with transaction() as session:
        return feedback.watermark(session, P)


class Row(NamedTuple):
    prompt: object
    completion: str
    label: bool
    reason: str
    position: int
    checkpoint_id: UUID | None


def rows(watermark: int = EVERYTHING) -> dict[str, Row]:
    with transaction() as session:
        texts = LogTexts(session, P, watermark)
        with resolving.resolved(session, P, LabelPolicy(), watermark) as log:
            found = list(labellings(log, texts))
        looks = texts_of(found, texts)
    return {
        row.completion_id: Row(
            json.loads(looks[row.completion_id].prompt),
            looks[row.completion_id].completion,
            row.label,
            row.reason,
            row.position,
            row.checkpoint_id,
        )
        for row in found
    }


def counts(since: int = 0) -> tuple[int, int, int]:
    with transaction() as session:
        log = labels.log_of(session, P, LabelPolicy(), EVERYTHING)
        labelled = resolve.resolve(LabelPolicy(), log, labels.context(session, P, LabelPolicy(), EVERYTHING))
    found = labels.count(log, labelled, since=since)
    return found.desirable, found.undesirable, found.nothing


def test_a_thumb_that_comes_before_the_text_counts():
    say(event("c1", "down"), event("c1", "down", actor="bob", text="Tomorrow."))

    row = rows()["c1"]

    assert (row.prompt, row.completion, row.label, row.reason) == ("Where is it?", "Tomorrow.", False, "thumbs_down")
    assert row.position == 2  # where the text arrived


def test_a_completion_without_a_text_gives_no_row_and_is_counted():
    say(event("c1", "up"), event("c2", "up", text="Tomorrow."))

    assert list(rows()) == ["c2"]
    assert counts() == (1, 0, 1)


def test_the_text_of_the_first_event_that_carries_one_counts():
    say(event("c1", "up", text="First."), event("c1", "up", actor="bob", text="Second."))

    assert rows()["c1"].completion == "First."


def test_an_edit_gives_two_rows():
    edited = {"kind": "edit", "text": "It is lost, we send another one."}
    say(event("c1", edited, text="It arrives tomorrow.", checkpoint_id=str(ONE)))

    [edit_id] = set(rows()) - {"c1"}
    original, rewritten = rows()["c1"], rows()[edit_id]

    assert edit_id.startswith("c1#edit:")
    assert (original.label, original.completion) == (False, "It arrives tomorrow.")
    assert (rewritten.label, rewritten.completion, rewritten.reason) == (True, edited["text"], "edited_text")
    assert rewritten.checkpoint_id == ONE
    assert counts() == (1, 1, 0)


def test_a_preference_gives_a_row_for_each_answer():
    preferred = {"kind": "preference", "rejected": "No idea.", "rejected_completion_id": "c2"}
    unnamed = {"kind": "preference", "rejected": "Never."}
    say(event("c1", preferred, text="Tomorrow."), event("c3", unnamed, text="On Friday."))

    found = {row.completion: row.label for row in rows().values()}

    assert found == {"Tomorrow.": True, "No idea.": False, "On Friday.": True, "Never.": False}
    assert rows()["c2"].prompt == "Where is it?"


def test_both_sides_of_preferences_are_votes_on_one_completion():
    """The actor ann prefers one answer, bob and eve prefer the other."""
    one_over_two = {"kind": "preference", "rejected": "Two.", "rejected_completion_id": "c2"}
    two_over_one = {"kind": "preference", "rejected": "One.", "rejected_completion_id": "c1"}
    say(
        event("c1", one_over_two, text="One."),
        event("c2", two_over_one, actor="bob", text="Two."),
        event("c2", two_over_one, actor="eve", text="Two."),
    )

    assert {key: row.label for key, row in rows().items()} == {"c1": False, "c2": True}


def test_nothing_after_the_watermark_is_seen():
    watermark = say(event("c1", "up", text="Tomorrow."))
    say(event("c1", "down"), event("c2", "up", text="Two."))

    assert {key: row.label for key, row in rows(watermark=watermark).items()} == {"c1": True}
    assert rows()["c1"].label is False


def test_since_counts_completions_of_new_events_with_all_their_events():
    since = say(event("c1", "up", text="One."), event("c2", "up", text="Two."))
    say(event("c2", "down", actor="bob"), event("c2", "down", actor="eve"), event("c3", "up", text="Three."))

    assert {key: row.label for key, row in rows().items()} == {"c1": True, "c2": False, "c3": True}
    assert counts(since=since) == (1, 1, 0)


def test_another_project_has_its_own_log():
    say(event("c1", "up", text="One."))
    with transaction() as session:
        session.add(Project(id="other", base_model="/models/base", configuration=CONFIGURATION))
        session.flush()

        assert labels.log_of(session, "other", LabelPolicy(), EVERYTHING).completions.is_empty()


def test_approval_is_the_share_of_desirable_completions_of_each_checkpoint():
    edit = {"kind": "edit", "text": "It is lost, we send another one."}
    say(
        *(event(f"a{number}", "up" if number < 3 else "down", checkpoint_id=str(ONE)) for number in range(4)),
        event("b1", edit, text="It arrives tomorrow.", checkpoint_id=str(TWO)),
        event("b2", {"kind": "rating", "value": 4}, checkpoint_id=str(TWO)),
        event("c1", "up"),
    )

    with transaction() as session:
        first, second = summaries.figures(session, P).approvals()

    assert (first.checkpoint_id, first.desirable, first.undesirable, first.approval) == (ONE, 3, 1, 0.75)
    assert first.low == pytest.approx(0.3006, abs=1e-4)
    assert first.high == pytest.approx(0.9544, abs=1e-4)
    assert (second.checkpoint_id, second.desirable, second.undesirable, second.approval) == (TWO, 0, 1, 0.0)


def test_a_checkpoint_without_labels_has_no_approval():
    say(event("c1", {"kind": "rating", "value": 4}, checkpoint_id=str(ONE)))

    with transaction() as session:
        [one] = summaries.figures(session, P).approvals()

    assert one == wire.Approval(checkpoint_id=ONE, desirable=0, undesirable=0, approval=None, low=None, high=None)


def test_a_registered_completion_gives_late_signals_their_text_whenever_it_comes():
    register(P, "c1", {"prompt": "Where is it?", "completion": "Tomorrow.", "checkpoint_id": str(ONE)})
    say(event("c1", "up"), event("c2", "down"))
    before = say()
    register(P, "c2", {"prompt": "And now?", "completion": "No idea."})

    found = rows()

    assert {key: (row.prompt, row.completion, row.label) for key, row in found.items()} == {
        "c1": ("Where is it?", "Tomorrow.", True),
        "c2": ("And now?", "No idea.", False),
    }
    assert found["c1"].checkpoint_id == ONE
    assert list(rows(watermark=before)) == ["c1"]


def test_a_registered_text_counts_before_the_text_of_an_event():
    say(event("c1", "up", text="As the event has it."))
    register(P, "c1", {"prompt": "Where is it?", "completion": "As the model wrote it."})

    assert rows()["c1"].completion == "As the model wrote it."


def test_a_registered_completion_of_which_nothing_was_said_is_no_row():
    register(P, "c1", {"prompt": "Where is it?", "completion": "Tomorrow."})

    assert rows() == {}
    assert counts() == (0, 0, 0)


def test_a_preference_by_ids_alone_finds_both_registered_texts():
    say(event("c1", {"kind": "preference", "rejected_completion_id": "c2"}))
    register(P, "c1", {"prompt": "Where is it?", "completion": "Tomorrow."})
    register(P, "c2", {"prompt": "Where is it?", "completion": "No idea."})

    assert {row.completion: row.label for row in rows().values()} == {"Tomorrow.": True, "No idea.": False}


def test_what_is_superseded_or_taken_back_counts_no_more_and_its_text_stays():
    say(
        event("c1", "up", text="Tomorrow.", event_id="e1"),
        event("c1", "down", event_id="e2", supersedes="e1", occurred_at="2020-01-01T00:00:00Z"),
        event("c2", "down", text="Two.", event_id="e3"),
        event("c2", {"kind": "retract"}, supersedes="e3"),
        event("c2", "up", actor="bob"),
    )

    assert {key: row.label for key, row in rows().items()} == {"c1": False, "c2": True}
    assert rows()["c2"].completion == "Two."


def test_nobody_takes_back_what_another_said_or_what_was_said_elsewhere():
    say(
        event("c1", "up", text="One.", event_id="e1"),
        event("c1", {"kind": "retract"}, actor="bob", supersedes="e1"),
        event("c2", {"kind": "retract"}, supersedes="e1"),
    )

    assert {key: row.label for key, row in rows().items()} == {"c1": True}


def test_who_takes_back_everything_takes_back_what_was_said_before():
    say(
        event("c1", "up", text="One.", occurred_at="2026-01-01T00:00:00Z"),
        event("c1", {"kind": "copy"}, occurred_at="2026-01-02T00:00:00Z"),
        event("c1", {"kind": "retract"}, occurred_at="2026-01-03T00:00:00Z"),
        event("c1", "down", occurred_at="2026-01-04T00:00:00Z"),
        event("c1", "up", actor="bob", occurred_at="2026-01-01T00:00:00Z"),
        event("c1", "down", actor="eve", occurred_at="2026-01-01T00:00:00Z"),
    )

    assert rows()["c1"].label is False


def test_a_preference_that_is_taken_back_counts_on_neither_side():
    preferred = {"kind": "preference", "rejected": "No idea."}
    say(event("c1", preferred, text="Tomorrow.", event_id="e1"), event("c1", {"kind": "retract"}, supersedes="e1"))

    assert rows() == {}
    assert counts() == (0, 0, 2)


def test_signals_that_the_policy_gives_no_meaning_are_no_label():
    say(
        event("c1", {"kind": "comment", "text": "Nice."}, text="One."),
        event("c1", {"kind": "outcome", "name": "solved", "value": True}),
        event("c1", {"kind": "flag", "flags": ["purple"]}),
    )

    assert counts() == (0, 0, 1)
