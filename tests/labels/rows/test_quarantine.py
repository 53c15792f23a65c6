"""Actors in quarantine: their detection in the log, and the decisions about them at any time."""

import threading
from datetime import datetime, timedelta

import psycopg
import pytest
from pydantic import ValidationError
from thumbwheel import wire

from app import settings
from app.database import now, transaction
from app.errors import Invalid, NotFound
from app.labels import service as labels
from app.labels.quarantine import listing, service
from app.project_setup import service as project_setup
from app.projects.tables import Project
from tests.bare_project import CONFIGURATION
from tests.desk import at_once
from tests.labels.one_by_one import resolve_all
from tests.logged import store

P = "desk"
NOON = datetime.fromisoformat("2026-01-01T12:00:00+00:00")
POLICY = wire.LabelPolicy()


@pytest.fixture(autouse=True)
def _project(database):
    with transaction() as session:
        session.add(Project(id=P, base_model="/models/base", configuration=CONFIGURATION))


def thumbs(actor: str, count: int, *, apart: float, value: str = "up") -> list[dict]:
    """Returns thumbs of one actor, each about a different completion, `apart` seconds apart."""
    return [
        {
            "completion_id": f"{actor}/{number}",
            "actor": actor,
            "signal": {"kind": "thumbs", "value": value if value != "both" else ("up", "down")[number % 2]},
            "prompt": f"Question {number} of {actor}?",
            "completion": f"Answer {number}.",
            "occurred_at": (NOON + timedelta(seconds=number * apart)).isoformat(),
        }
        for number in range(count)
    ]


def say(*groups: list[dict]) -> None:
    store(P, [event for group in groups for event in group])


def decide(actor: str, decision: str, reason: str = "spoke with them") -> wire.QuarantineDecision:
    with transaction() as session:
        new = wire.NewQuarantineDecision(actor=actor, decision=decision, reason=reason)
        return service.decide(session, P, new, "key test")


def left_out(as_of: datetime | None = None) -> dict[str, tuple[str, ...]]:
    with transaction() as session:
        labelled = resolve_all(session, P, POLICY, watermark=labels.EVERYTHING)
        return service.left_out(session, P, POLICY, labelled, as_of=as_of)


def listed(**filters) -> list[wire.QuarantinedActor]:
    with transaction() as session:
        return listing.page(session, P, **filters).items


@pytest.fixture
def burst() -> None:
    """Stores 70 votes of `bot` within 35 seconds and 70 of `ann` within an hour."""
    say(thumbs("bot", 70, apart=0.5, value="both"), thumbs("ann", 70, apart=50, value="both"))


def test_who_is_found_is_left_out_with_the_reasons(burst):
    assert left_out() == {"bot": ("quarantined_burst",)}


def test_every_rule_that_finds_an_actor_is_a_reason():
    say(thumbs("bot", 100, apart=0.1), *(thumbs(f"user {n}", 20, apart=50, value="both") for n in range(10)))

    assert left_out() == {"bot": ("quarantined_burst", "quarantined_one_way")}


def test_who_is_found_is_listed_with_figures_and_examples(burst):
    [entry] = listed()

    assert (entry.actor, entry.state, entry.decision) == ("bot", "quarantined", None)
    [finding] = entry.findings
    assert finding == wire.QuarantineFinding(
        rule="burst",
        said="70 votes within 60 seconds",
        votes=70,
        seconds=60.0,
        examples=["bot/0", "bot/1", "bot/2", "bot/3", "bot/4"],
    )


def test_a_ring_is_listed_with_the_others_in_it():
    shared = [
        {**event, "actor": actor}
        for actor in ("one", "three", "two")
        for event in thumbs("ring", 20, apart=50, value="both")
    ]
    say(shared, *(thumbs(f"user {number}", 30, apart=50, value="both") for number in range(20)))

    entries = listed()

    assert [entry.actor for entry in entries] == ["one", "three", "two"]
    [finding] = entries[0].findings
    assert (finding.rule, finding.ring_size, finding.ring) == ("ring", 3, ["three", "two"])
    assert (finding.together, finding.overlap, finding.agreement) == (20, 1.0, 1.0)
    assert finding.said == (
        "one of 3 actors who judge the same completions: 20 in common with the most similar one, 100% of all that the "
        "two judged, with 100% equal votes"
    )
    assert len(set(finding.examples) & {f"ring/{number}" for number in range(20)}) == 5


def test_one_side_alone_is_listed_with_both_shares():
    say(thumbs("fan", 100, apart=100), *(thumbs(f"user {n}", 20, apart=50, value="both") for n in range(10)))

    [finding] = listed()[0].findings

    assert (finding.rule, finding.label, finding.share, finding.others_share) == ("one_way", "desirable", 1.0, 0.5)
    assert finding.said == "100.0% of 100 votes are desirable, of the others' 50.0%"


def test_who_is_released_counts_again(burst):
    decide("bot", "released")

    assert left_out() == {}
    [entry] = listed()
    assert (entry.state, entry.decision.reason, entry.decision.by) == ("released", "spoke with them", "key test")
    assert [finding.rule for finding in entry.findings] == ["burst"]


def test_who_is_confirmed_stays_out_where_no_rule_finds_them(burst):
    decide("ann", "confirmed")

    assert left_out() == {"ann": ("quarantine_confirmed",), "bot": ("quarantined_burst",)}
    assert [(entry.actor, entry.state, len(entry.findings)) for entry in listed()] == [
        ("ann", "confirmed", 0), ("bot", "quarantined", 1)
    ]  # fmt: skip


def test_the_newest_decision_counts_and_all_are_kept(burst):
    decide("bot", "confirmed", "a script")
    decide("ann", "confirmed", "a colleague")
    decide("bot", "released", "it is our own test")

    assert left_out() == {"ann": ("quarantine_confirmed",)}
    with transaction() as session:
        first = service.page(session, P, limit=2)
        second = service.page(session, P, limit=2, cursor=first.next_cursor)
        of_bot = service.page(session, P, actor="bot").items
    assert [entry.number for entry in first.items + second.items] == [3, 2, 1]
    assert [entry.reason for entry in of_bot] == ["it is our own test", "a script"]


def test_what_was_decided_later_does_not_change_what_counted_then(burst):
    before = now()
    released = decide("bot", "released")
    confirmed = decide("bot", "confirmed")

    assert left_out(before) == {"bot": ("quarantined_burst",)}
    assert left_out(released.at) == {}
    assert left_out(confirmed.at) == {"bot": ("quarantine_confirmed",)}


def test_what_counted_then_waits_for_a_decision_that_is_under_way(burst):
    """A decision has a time in the past, but its transaction is open. If it were ignored, a later query about that time
    would have another result."""
    seen: list[dict[str, tuple[str, ...]]] = []

    with transaction() as session:
        decided = service.decide(
            session, P, wire.NewQuarantineDecision(actor="bot", decision="released", reason="own"), "key test"
        )
        asking = threading.Thread(target=lambda: seen.append(left_out(decided.at)))
        asking.start()
        _until_somebody_waits()
    asking.join(timeout=120)

    assert seen == [{}]


def _until_somebody_waits() -> None:
    with psycopg.connect(settings.current().need_libpq_database(), autocommit=True) as connection:
        for _ in range(100_000):
            if connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() != (0,):
                return
    raise AssertionError("no transaction waits for the lock of the project")


def test_who_asks_what_counted_then_keeps_nobody_waiting(burst):
    with transaction() as session:
        service.newest(session, P, as_of=now())

        taken = decide("bot", "released")  # in a second transaction, while this one is open

    assert (taken.actor, taken.decision) == ("bot", "released")


def test_decisions_at_the_same_moment_are_counted_one_after_the_other(burst):
    taken = at_once(6, lambda number: decide("bot", ("released", "confirmed")[number % 2]))

    assert sorted(entry.number for entry in taken) == [1, 2, 3, 4, 5, 6]


def test_of_an_actor_who_never_said_anything_nothing_is_decided(burst):
    with pytest.raises(NotFound, match="check the id"):
        decide("bto", "released")


def test_of_an_actor_whose_votes_count_nothing_is_shown(burst):
    with transaction() as session:
        assert listing.get(session, P, "bot").state == "quarantined"
        with pytest.raises(NotFound, match="the votes count"):
            listing.get(session, P, "ann")


@pytest.mark.parametrize("body", [{"reason": " "}, {"reason": "a\x00b"}, {"decision": "forgotten"}, {"actor": ""}])
def test_a_decision_without_a_word_is_none(body):
    with pytest.raises(ValidationError):
        wire.NewQuarantineDecision(**{"actor": "bot", "decision": "released", "reason": "own", **body})


def test_pages_go_on_where_the_last_one_ended():
    say(*(thumbs(f"bot {number}", 70, apart=0.5, value="both") for number in range(5)))
    decide("bot 3", "released")

    with transaction() as session:
        first = listing.page(session, P, limit=2)
        second = listing.page(session, P, limit=2, cursor=first.next_cursor)
        third = listing.page(session, P, limit=2, cursor=second.next_cursor)

    assert [[entry.actor for entry in page.items] for page in (first, second, third)] == [
        ["bot 0", "bot 1"], ["bot 2", "bot 3"], ["bot 4"]
    ]  # fmt: skip
    assert third.next_cursor is None
    assert [entry.actor for entry in listed(state="released")] == ["bot 3"]
    assert len(listed(state="quarantined")) == 4


def test_a_cursor_that_no_page_gave_out_is_refused(burst):
    with transaction() as session, pytest.raises(Invalid):
        service.page(session, P, cursor="eA")


def test_other_projects_have_their_own_decisions(burst):
    with transaction() as session:
        project_setup.create(session, wire.NewProject(project="other", base_model="/models/base", suites=[]))
    store("other", thumbs("bot", 70, apart=0.5, value="both"))
    decide("bot", "released")

    with transaction() as session:
        assert [entry.state for entry in listing.page(session, "other").items] == ["quarantined"]
        assert service.page(session, "other").items == []


@pytest.mark.parametrize("change", ["UPDATE quarantine_decisions SET reason = ''", "DELETE FROM quarantine_decisions"])
def test_a_decision_is_never_changed(burst, change):
    decide("bot", "released")

    url = settings.current().need_libpq_database()
    with pytest.raises(psycopg.errors.RestrictViolation), psycopg.connect(url) as connection:
        connection.execute(change)


def compares(actor: str, count: int, **more) -> list[dict]:
    """Returns comparisons of one actor, each between two different completions."""
    return [
        {
            "completion_id": f"{actor}/{number}",
            "actor": actor,
            "signal": {"kind": "preference", "rejected": f"Worse answer {number}."},
            "prompt": f"Question {number} of {actor}?",
            "completion": f"Answer {number}.",
            **more,
        }
        for number in range(count)
    ]


def test_votes_without_a_time_are_no_burst_however_quickly_they_are_uploaded():
    say(
        [{**event, "occurred_at": None} for event in thumbs("live", 80, apart=0, value="both")],
        [{**event, "occurred_at": None, "origin": "import"} for event in thumbs("file", 80, apart=0, value="both")],
        compares("comparing", 80, origin="import"),
    )

    assert left_out() == {}


def test_a_preference_is_one_vote():
    say(compares("quick", 59, occurred_at=NOON.isoformat()))
    assert left_out() == {}

    say(compares("quicker", 60, occurred_at=NOON.isoformat()))
    assert left_out() == {"quicker": ("quarantined_burst",)}
    [entry] = listed()
    assert entry.findings[0].votes == 60
    assert all(example.startswith("quicker/") for example in entry.findings[0].examples)
