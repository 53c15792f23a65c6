"""Triggers: the conditions for an automatic run."""

import pytest
from thumbwheel import wire

from app.loop.triggers import TriggerFacts, decide

VOLUME = wire.TriggerRules(new_per_class=100)
PERIOD = wire.TriggerRules(every_hours=24)


def situation(desirable: int = 0, undesirable: int = 0, *, hours: float | None = 30, **rest) -> TriggerFacts:
    new = wire.ClassCounts(desirable=desirable, undesirable=undesirable)
    return TriggerFacts(new=new, hours_since_last_run=hours, **{"active": False, **rest})


def test_without_rules_nothing_starts_by_itself():
    decision = decide(wire.TriggerRules(), situation(1000, 1000))

    assert not decision.start
    assert "by API or CLI" in decision.reason


def test_each_class_needs_its_new_labels():
    assert decide(VOLUME, situation(100, 100)).start
    waiting = decide(VOLUME, situation(300, 40))

    assert not waiting.start
    assert waiting.reason == "not yet: 40 of 100 new undesirable labels"


def test_where_undesirable_rows_are_not_learnt_from_only_desirable_labels_are_waited_for():
    waiting = decide(VOLUME, situation(40, 300, both_classes=False))
    assert waiting.reason == "not yet: 40 of 100 new desirable labels"

    started = decide(VOLUME, situation(100, 0, both_classes=False))

    assert (started.start, started.reason) == (True, "100 new desirable labels (required: 100)")


def test_a_period_needs_its_hours_and_anything_new():
    assert decide(PERIOD, situation(1, 0)).start
    assert decide(PERIOD, situation(1, 0, hours=None)).start
    assert decide(PERIOD, situation(1, 0, hours=23.9)).reason == (
        "not yet: the period of 24 hours since the last run is not over"
    )
    assert decide(PERIOD, situation(0, 0)).reason == "not yet: no new label since the last run"


def test_one_of_two_rules_is_enough():
    both = wire.TriggerRules(new_per_class=100, every_hours=24)

    assert decide(both, situation(100, 100, hours=1)).start
    assert decide(both, situation(1, 0, hours=25)).start
    assert decide(both, situation(1, 0, hours=1)).reason == (
        "not yet: 1 of 100 new desirable labels, 0 of 100 new undesirable labels; "
        "the period of 24 hours since the last run is not over"
    )


def test_nothing_starts_beside_an_active_run():
    assert decide(VOLUME, situation(100, 100, active=True)).reason == "not yet: a run is active"


def test_what_makes_no_snapshot_starts_nothing_and_says_why():
    decision = decide(VOLUME, situation(100, 100, reasons=["too few desirable rows: ≈120 more are needed"]))

    assert not decision.start
    assert decision.reason.startswith("due (100 new desirable and 100 new undesirable labels")
    assert decision.reason.endswith("but refused: too few desirable rows: ≈120 more are needed")


@pytest.mark.parametrize("how", ["failed", "was cancelled"])
def test_after_a_run_that_ended_badly_the_reason_says_how_to_go_on(how):
    decision = decide(VOLUME, situation(0, 0, last_run_ended_badly=how))

    assert decision.reason.endswith(f"(the last run {how}: start one by hand to use the same labels again)")
