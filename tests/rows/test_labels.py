"""Labels of a log in Postgres: late signals, other sides of preferences, filters, approval."""

from uuid import UUID

import pytest
from thumbwheel import wire

from app.database import transaction
from app.feedback import service as feedback
from app.labels import service as labels
from app.labels.service import EVERYTHING, LabelledRow
from app.projects.tables import Project

P = "desk"
ONE, TWO = UUID(int=1), UUID(int=2)


@pytest.fixture(autouse=True)
def _project(database):
    with transaction() as session:
        session.add(Project(id=P, base_model="/models/base", configuration={}))


def event(completion_id: str, signal: dict | str, *, actor: str = "ann", text: str | None = None, **more) -> dict:
    body = {"completion_id": completion_id, "actor": actor, **more}
    body["signal"] = {"kind": "thumbs", "value": signal} if isinstance(signal, str) else signal
    if text is not None:
        body |= {"prompt": "Where is it?", "completion": text}
    return body


def say(*events: dict) -> int:
    """The watermark after them."""
    with transaction() as session:
        assert feedback.record_batch(session, P, events).rejected == 0
        return feedback.watermark(session, P)


def rows(**filters) -> dict[str, LabelledRow]:
    with transaction() as session:
        return {row.completion_id: row for row in labels.labelled(session, P, **{"watermark": EVERYTHING, **filters})}


def counts(**filters) -> tuple[int, int, int]:
    with transaction() as session:
        found = labels.counts(session, P, **{"watermark": EVERYTHING, **filters})
    return found.desirable, found.undesirable, found.nothing


def test_a_thumb_that_comes_before_the_text_counts():
    say(event("c1", "down"), event("c1", "down", actor="bob", text="Tomorrow."))

    row = rows()["c1"]

    assert (row.prompt, row.completion, row.label, row.reason) == ("Where is it?", "Tomorrow.", False, "thumbs_down")
    assert row.position == 2  # where the text came


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
    """ann prefers one answer, bob and eve the other."""
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


def test_since_takes_completions_of_which_something_new_was_said_with_all_that_was_said():
    since = say(event("c1", "up", text="One."), event("c2", "up", text="Two."))
    say(event("c2", "down", actor="bob"), event("c2", "down", actor="eve"), event("c3", "up", text="Three."))

    assert {key: row.label for key, row in rows(since=since).items()} == {"c2": False, "c3": True}
    assert counts(since=since) == (1, 1, 0)


def test_a_checkpoint_takes_its_own_completions():
    say(
        event("c1", "up", text="One.", checkpoint_id=str(ONE)),
        event("c2", "up", text="Two.", checkpoint_id=str(TWO)),
        event("c3", "up", text="Three."),
    )

    assert list(rows(checkpoint_id=TWO)) == ["c2"]


def test_another_project_has_its_own_log():
    say(event("c1", "up", text="One."))
    with transaction() as session:
        session.add(Project(id="other", base_model="/models/base", configuration={}))
        session.flush()

        assert list(labels.labelled(session, "other", watermark=EVERYTHING)) == []


def test_approval_is_the_share_of_desirable_completions_of_each_checkpoint():
    edit = {"kind": "edit", "text": "It is lost, we send another one."}
    say(
        *(event(f"a{number}", "up" if number < 3 else "down", checkpoint_id=str(ONE)) for number in range(4)),
        event("b1", edit, text="It arrives tomorrow.", checkpoint_id=str(TWO)),
        event("b2", {"kind": "rating", "value": 4}, checkpoint_id=str(TWO)),
        event("c1", "up"),
    )

    with transaction() as session:
        one, two = labels.approval(session, P)

    assert (one.checkpoint_id, one.desirable, one.undesirable, one.approval) == (ONE, 3, 1, 0.75)
    assert one.low == pytest.approx(0.3006, abs=1e-4)
    assert one.high == pytest.approx(0.9544, abs=1e-4)
    assert (two.checkpoint_id, two.desirable, two.undesirable, two.approval) == (TWO, 0, 1, 0.0)


def test_a_checkpoint_without_labels_has_no_approval():
    say(event("c1", {"kind": "rating", "value": 4}, checkpoint_id=str(ONE)))

    with transaction() as session:
        [one] = labels.approval(session, P)

    assert one == wire.Approval(checkpoint_id=ONE, desirable=0, undesirable=0, approval=None, low=None, high=None)


def test_many_completions_come_in_the_order_of_their_ids():
    say(*(event(f"c{number:04}", "up", text=f"Text {number}.") for number in range(1500)))

    assert list(rows()) == [f"c{number:04}" for number in range(1500)]
