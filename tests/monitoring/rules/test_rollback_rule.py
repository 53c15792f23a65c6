"""The rule of automatic rollback: what it says of a release, and that it never goes to and fro."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thumbwheel import wire

from app.monitoring.approval.collect import Arm, ArmVotes
from app.monitoring.approval.comparisons import ComparedReleases, comparison, document, pairs
from app.monitoring.rollback_rule import decide, facts_of
from app.releases.periods import periods

START = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = wire.RollbackRules(minimum_labels=50, margin=0.05, grace_hours=2)
GOOD, BAD, EQUAL = (900, 1000), (500, 1000), (700, 1000)


def entry(number, action, checkpoint, *, hours=0.0, decision=None):
    return wire.Release(
        id=UUID(int=number), project="p", number=number, checkpoint_id=UUID(int=checkpoint), action=action,
        share=0.2 if action == "canary" else None, reason="", override_reason=None, override_scope=None,
        by="key test" if decision is None else "monitoring", decision=decision,
        created_at=START + timedelta(hours=hours),
    )  # fmt: skip


def compared(ledger, release=EQUAL, other=EQUAL):
    """Returns the comparisons of a ledger with these votes: up and all of each arm."""
    return [
        comparison(document(pair, ArmVotes(release[1], *release[::-1]), ArmVotes(other[1], *other[::-1])))
        for pair in pairs(periods(ledger))
    ]


def decision(ledger, release=EQUAL, other=EQUAL, *, hours=100.0, read=None, policy=POLICY):
    facts = facts_of(
        ledger,
        periods(ledger),
        read=ledger[-1].number if read is None else read,
        comparisons=compared(ledger, release, other),
        watermark=7,
        at=START + timedelta(hours=hours),
    )
    return decide(policy, facts)


SHIPPED = [entry(1, "start", 1), entry(2, "ship", 2, hours=1)]
TRIED = [*SHIPPED, entry(3, "canary", 3, hours=2)]


def test_a_canary_that_users_like_less_ends_and_the_decision_says_why():
    found = decision(TRIED, BAD, GOOD)

    assert found.action == "end_canary"
    assert found.reason.startswith("release 3 is worse: approval −0.4")
    assert (found.figures.comparison.release.release_number, found.figures.comparison.other.release_number) == (3, 2)
    assert (found.figures.policy, found.figures.watermark, found.figures.rule_version) == (POLICY, 7, 1)
    assert len(found.figures.rule_sha256) == 64


def test_a_live_release_that_users_like_less_than_the_one_before_is_taken_back_after_its_grace():
    assert decision(SHIPPED, BAD, GOOD).action == "roll_back"
    early = decision(SHIPPED, BAD, GOOD, hours=2.5)
    assert (early.action, early.reason) == ("keep", "release 2 is live for 1.5 of 2 hours of grace")


@pytest.mark.parametrize(
    ("ledger", "release", "other", "reason"),
    [
        (TRIED, EQUAL, EQUAL, "it goes once all of that is below −0.05"),
        (TRIED, GOOD, BAD, "it goes once"),
        (TRIED, (0, 49), GOOD, "49 of 50 votes on release 3"),
        (TRIED, BAD, (40, 40), "40 of 50 votes on release 2"),
        (SHIPPED[:1], BAD, GOOD, "the live release is a base model"),
        ([*SHIPPED, entry(3, "rollback", 1, hours=3)], BAD, GOOD, "the live release is a rollback"),
    ],
)
def test_a_release_stays_with_the_reason(ledger, release, other, reason):
    found = decision(ledger, release, other)

    assert found.action == "keep"
    assert reason in found.reason


def test_votes_that_were_read_before_the_newest_release_decide_nothing():
    found = decision(TRIED, BAD, GOOD, read=2)

    assert (found.action, found.reason) == ("keep", "the votes since release 3 have not been read yet")


def test_after_an_automatic_decision_nothing_happens_until_somebody_ships():
    ended = decision(TRIED, BAD, GOOD)
    ledger = [*TRIED, entry(4, "end_canary", 3, hours=3, decision=ended)]

    assert "until somebody ships" in decision(ledger, BAD, GOOD).reason
    assert decision([*ledger, entry(5, "canary", 4, hours=4)], BAD, GOOD).action == "end_canary"


def test_a_canary_goes_on_while_its_share_changes():
    again = [*TRIED, entry(4, "canary", 3, hours=3)]
    [pair, _] = pairs(periods(again))

    assert pair == ComparedReleases(
        "canary",
        Arm(3, str(UUID(int=3)), START + timedelta(hours=2), None),
        Arm(2, str(UUID(int=2)), START + timedelta(hours=2), None),
    )


#: Votes on the release and on the other; a worse release is likely, so that much would happen without the rule's care.
VOTES = st.sampled_from([(BAD, GOOD), (BAD, GOOD), (BAD, GOOD), (GOOD, BAD), (EQUAL, EQUAL), ((0, 0), GOOD)])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("tick"), VOTES, st.sampled_from([True, True, True, False])),
        st.tuples(st.sampled_from(["ship", "ship", "canary", "rollback", "start"])),
    ),
    min_size=5,
    max_size=40,
)


def acted(ledger, action, decided=None):
    """Returns the ledger with one more entry, as `releases.service` would write it; unchanged if it would refuse."""
    number, hours = ledger[-1].number + 1, float(ledger[-1].number)
    live = [item for item in ledger if item.action in ("start", "ship", "rollback")]
    if action == "rollback" and ledger[-1].action == "canary":
        return [*ledger, entry(number, "end_canary", ledger[-1].checkpoint_id.int, hours=hours, decision=decided)]
    if action == "rollback":
        shipped = []
        for item in live:
            if item.action == "rollback":
                shipped.pop()
            else:
                shipped = [item] if item.action == "start" else [*shipped, item]
        if len(shipped) < 2:
            return ledger
        return [*ledger, entry(number, "rollback", shipped[-2].checkpoint_id.int, hours=hours, decision=decided)]
    return [*ledger, entry(number, action, number, hours=hours)]


@given(STEPS)
def test_the_ledger_never_goes_to_and_fro_by_itself(steps):
    ledger = [entry(1, "start", 1)]
    taken_back = []
    for step in steps:
        if step[0] != "tick":
            ledger = acted(ledger, step[0])
            continue
        _, (release, other), was_read = step
        read = ledger[-1].number if was_read else ledger[-1].number - 1
        found = decision(ledger, release, other, read=read, hours=1000.0)
        if found.action == "keep":
            continue
        open_period = next(period for period in reversed(periods(ledger)) if period.ends is None)
        assert open_period.action == ("canary" if found.action == "end_canary" else "ship")
        taken_back.append(open_period.number)
        before = ledger[-1].number
        ledger = acted(ledger, "rollback", found)
        assert ledger[-1].number == before + 1
        assert ledger[-1].action == ("end_canary" if found.action == "end_canary" else "rollback")

    assert len(taken_back) == len(set(taken_back))
    shipped_since = True
    for item in ledger:
        if item.decision is not None:
            assert shipped_since
            shipped_since = False
        elif item.action in ("ship", "canary", "start"):
            shipped_since = True
