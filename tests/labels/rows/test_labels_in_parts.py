"""A log has the same labels whether it is read in one part or in several."""

from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thumbwheel import wire
from thumbwheel.wire import LabelPolicy

from app.database import transaction
from app.feedback import service as feedback
from app.labels import resolving
from app.labels import service as labels
from app.labels.quarantine import service
from app.projects.tables import Project
from tests.bare_project import CONFIGURATION
from tests.labels.rows.test_labels_of_whole_logs import COMPLETIONS, POLICIES, TEXTS, logs
from tests.logged import register, store

NOTHING_IN_PARTS = 10**6
#: Signals that involve two completions, by text or by id, and retractions.
PREFERENCES = st.one_of(
    st.sampled_from(TEXTS).map(lambda text: {"kind": "preference", "rejected": f"{text} Yes?"}),
    st.sampled_from(COMPLETIONS).map(lambda other: {"kind": "preference", "rejected_completion_id": other}),
    st.just({"kind": "retract"}),
)


@pytest.fixture
def fresh_project(database) -> Callable[[], str]:
    numbers = count()

    def make() -> str:
        project = f"p{next(numbers)}"
        with transaction() as session:
            session.add(Project(id=project, base_model="/models/base", configuration=CONFIGURATION))
        return project

    return make


def results_of(project: str, policy: LabelPolicy, part: int) -> dict:
    """Resolves a log in parts of `part` events and returns all results that do not depend on the numbers of actors."""
    with transaction() as session:
        watermark = feedback.watermark(session, project)
        with resolving.resolved(session, project, policy, watermark, part=part) as resolved:
            names = resolved.actors.to_list()
            completions, votes, rewrites, events = {}, [], [], []
            counted = {}
            for log, labelled in resolved.parts():
                ids = log.completions["completion_id"].to_list()
                assert not completions.keys() & set(ids)
                completions |= {row["completion_id"]: row for row in labelled.completions.iter_rows(named=True)}
                votes += [
                    (ids[row.pop("completion")], names[row.pop("actor")], *row.values())
                    for row in labelled.votes.iter_rows(named=True)
                ]
                rewrites += [
                    (ids[row.pop("completion")], sorted(names[actor] for actor in row.pop("actors")), *row.values())
                    for row in labelled.rewrites.iter_rows(named=True)
                ]
                events += [
                    (int(position), ids[completion], names[actor], int(moment), log.signals[signal], bool(stands))
                    for *event, stands in zip(*log.events, log.stands, strict=True)
                    for position, completion, actor, moment, _, signal in [event]
                ]
                for name, number in labels.count(log, labelled, since=watermark // 2).model_dump().items():
                    counted[name] = counted.get(name, 0) + number
            return {
                "left out": resolved.left_out,
                "as of": resolved.as_of,
                "actors": sorted(names),
                "completions": completions,
                "votes": sorted(votes),
                "rewrites": sorted(rewrites),
                "events": sorted(events, key=repr),
                "counted": counted,
                "twice": [len(log.completions) for log, _ in resolved.parts()],
            }


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    events=st.one_of(logs(), logs(PREFERENCES)),
    policy=POLICIES,
    confirmed=st.booleans(),
    registered=st.sampled_from(["before", "after", "never"]),
    kept=st.booleans(),
    part=st.integers(1, 3),
)
@pytest.mark.trial
def test_a_log_in_parts_has_the_labels_of_the_whole_log(
    fresh_project, events, policy, confirmed, registered, kept, part
):
    project = fresh_project()
    if registered == "before":
        register(project, "c1", {"prompt": "Where?", "completion": TEXTS[0]})
    store(project, events)
    if registered == "after":
        register(project, "c1", {"prompt": "Where?", "completion": TEXTS[0]})
    if confirmed:
        with transaction() as session:
            decision = wire.NewQuarantineDecision(
                actor=events[0]["actor"], decision="confirmed", reason="It is a machine."
            )
            service.decide(session, project, decision, "ops")
    if kept:
        with transaction() as session:
            labels.log_of(session, project, policy, feedback.watermark(session, project), keep=True)

    in_parts = results_of(project, policy, part)
    whole = results_of(project, policy, NOTHING_IN_PARTS)

    assert sum(in_parts.pop("twice")) == sum(whole.pop("twice"))
    assert in_parts == whole


def test_of_many_equal_votes_at_one_moment_the_same_one_counts_in_parts_and_whole(fresh_project):
    project = fresh_project()
    votes = [
        {
            "event_id": f"e{number}",
            "completion_id": f"c{number % 3}",
            "actor": ("ann", "bob")[number % 2],
            "signal": {"kind": "thumbs", "value": "up"},
            "origin": "import",
        }
        for number in range(60)
    ]
    store(project, votes)
    policy = LabelPolicy()

    whole = results_of(project, policy, NOTHING_IN_PARTS)["votes"]

    assert results_of(project, policy, 1)["votes"] == whole
    assert [position for _, _, _, position, *_ in whole] == sorted(
        range(55, 61), key=lambda p: ((p - 1) % 3, (p - 1) % 2)
    )
