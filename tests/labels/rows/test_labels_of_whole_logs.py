"""A whole log has the same labels as its completions have one by one."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thumbwheel.wire import LabelPolicy

from app.database import transaction
from app.feedback import service as feedback
from app.labels import service as labels
from app.labels.whole_log.events import text_key
from app.projects.tables import Project
from tests.bare_project import CONFIGURATION
from tests.labels.one_by_one import resolve_all, resolved
from tests.logged import register, store

TEXTS = [
    "It arrives tomorrow.",
    "It arrives tommorow.",
    "it arrives tomorrow",
    "We refund you 5 €.",
    "No idea, sorry for that.",
]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
IDS = [f"e{number}" for number in range(25)]
COMPLETIONS = ["c1", "c2", "c3"]
ACTORS = ["ann", "bob", "cy"]

SIGNALS = st.one_of(
    st.sampled_from(["up", "down"]).map(lambda value: {"kind": "thumbs", "value": value}),
    st.sampled_from(TEXTS).map(lambda text: {"kind": "edit", "text": text}),
    st.integers(1, 5).map(lambda value: {"kind": "rating", "value": value}),
    st.sampled_from(["accept", "reject", "copy", "regenerate", "escalate", "reopen", "resolve", "retract"]).map(
        lambda kind: {"kind": kind}
    ),
    st.lists(st.sampled_from(["unsafe", "wrong", "purple"]), min_size=1, max_size=2).map(
        lambda flags: {"kind": "flag", "flags": flags}
    ),
    st.sampled_from(TEXTS).map(lambda text: {"kind": "preference", "rejected": f"{text} Yes?"}),
    st.sampled_from(COMPLETIONS).map(lambda other: {"kind": "preference", "rejected_completion_id": other}),
    st.sampled_from(COMPLETIONS).map(
        lambda other: {"kind": "preference", "rejected_completion_id": other, "tie": True}
    ),
    st.booleans().map(lambda value: {"kind": "outcome", "name": "solved", "value": value}),
    st.just({"kind": "comment", "text": "Hm."}),
)

#: Times of events: known, that of the receipt, and unknown.
TIMES = st.one_of(
    st.integers(0, 40).map(lambda hours: {"occurred_at": (NOON + timedelta(hours=hours)).isoformat()}),
    st.just({}),
    st.just({"origin": "import"}),
)


@st.composite
def logs(draw, signals=SIGNALS) -> list[dict]:
    """Draws events with late signals, changes of mind, retractions, chains of replacements, duplicates, ties, equal and
    unknown times."""
    events = []
    for event_id in IDS[: draw(st.integers(1, len(IDS)))]:
        signal = draw(signals)
        others = [each for each in COMPLETIONS if each != signal.get("rejected_completion_id")]
        event = {
            "event_id": event_id,
            "completion_id": draw(st.sampled_from(others)),
            "actor": draw(st.sampled_from(ACTORS)),
            "signal": signal,
            **draw(TIMES),
        }
        if "rejected" in signal or draw(st.booleans()):
            event |= {"prompt": "Where is it?", "completion": draw(st.sampled_from(TEXTS))}
        if (events and draw(st.integers(0, 4)) == 0) or (signal["kind"] == "retract" and draw(st.booleans())):
            event["supersedes"] = draw(st.sampled_from([each for each in IDS if each != event_id]))
        events.append(event)
    return events


POLICIES = st.sampled_from(
    [
        {},
        {"precedence": ["implicit", "outcome", "preference", "rating", "edit", "flag", "thumbs"]},
        {"signals": {"rating": {"thresholds": {"kind": "median", "days": 3660, "minimum": 2}}}},
        {
            "signals": {
                "outcome": {
                    "solved": {
                        "true": {"label": "desirable", "weight": 0.3, "unless": "reopen", "within_hours": 12},
                        "false": {"label": "undesirable", "weight": 0.1},
                    }
                },
                "accept": {"label": "desirable", "weight": 0.2, "unless": "reject", "within_hours": 30},
                "edit": {"substantive": {"label": "undesirable", "weight": 0.3}, "substantive_text": 0.5},
                "thumbs": {"down": None},
            }
        },
        {"signals": {"edit": {"cosmetic_from": 0.4, "rewrite_below": 0.3}}},
    ]
).map(LabelPolicy.model_validate)


def both(project: str, policy: LabelPolicy, left_out: tuple[str, ...] = ()) -> tuple[dict, dict]:
    """Returns the label and its details for each completion, once resolved one by one and once as a whole log."""
    with transaction() as session:
        watermark = feedback.watermark(session, project)
        one_by_one = {
            each.completion_id: (
                each.resolution.label,
                each.resolution.weight,
                list(each.resolution.reasons),
                each.position,
                each.completion is not None,
                str(each.checkpoint_id) if each.checkpoint_id else None,
                [
                    (text_key(rewrite.text), rewrite.position, rewrite.weight, rewrite.actors)
                    for rewrite in each.resolution.rewrites
                ],
            )
            for each in resolved(session, project, policy, watermark=watermark, left_out=left_out)
        }
        found = resolve_all(session, project, policy, watermark=watermark, left_out=left_out)
    actors = found.actors.to_list()
    rewrites: dict[int, list] = {}
    for completion, key, position, weight, by in found.rewrites.select(
        "completion", "key", "position", "weight", "actors"
    ).iter_rows():
        rewrites.setdefault(completion, []).append(
            (key, position, weight / 1000, tuple(sorted(actors[number] for number in by)))
        )
    at_once = {
        row["completion_id"]: (
            row["label"], row["weight"] / 1000, row["reasons"], row["position"], row["known"], row["checkpoint_id"],
            rewrites.get(number, []),
        )
        for number, row in enumerate(found.completions.iter_rows(named=True))
    }  # fmt: skip
    return one_by_one, at_once


@pytest.fixture
def fresh_project(database):
    numbers = iter(range(10**6))

    def make() -> str:
        project = f"p{next(numbers)}"
        with transaction() as session:
            session.add(Project(id=project, base_model="/models/base", configuration=CONFIGURATION))
        return project

    return make


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    events=logs(),
    policy=POLICIES,
    left_out=st.sampled_from([(), ("bob",)]),
    registered=st.sampled_from(["before", "after", "never"]),
    kept=st.booleans(),
)
def test_a_log_at_once_has_the_labels_of_its_completions_one_by_one(
    fresh_project, events, policy, left_out, registered, kept
):
    project = fresh_project()
    if registered == "before":
        register(project, "c1", {"prompt": "Where?", "completion": TEXTS[0]})
    store(project, events)
    if kept:
        with transaction() as session:
            labels.log_of(session, project, policy, feedback.watermark(session, project), keep=True)
    if registered == "after":
        register(project, "c1", {"prompt": "Where?", "completion": TEXTS[0]})

    one_by_one, at_once = both(project, policy, left_out)

    assert at_once == one_by_one


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(events=logs(), seed=st.randoms(use_true_random=True))
def test_the_order_of_arrival_makes_no_difference_where_times_differ(fresh_project, events, seed):
    events = [
        event
        | {
            "occurred_at": (NOON + timedelta(minutes=number)).isoformat(),
            "prompt": "Where is it?",
            "completion": TEXTS[0],
        }
        for number, event in enumerate(events)
    ]
    shuffled = seed.sample(events, len(events))
    first, second = fresh_project(), fresh_project()
    store(first, events)
    store(second, shuffled)

    before, _ = both(first, LabelPolicy())
    after, _ = both(second, LabelPolicy())

    assert {key: value[:3] for key, value in before.items()} == {key: value[:3] for key, value in after.items()}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    events=logs(),
    policy=POLICIES,
    seed=st.randoms(use_true_random=True),
    time=st.sampled_from([{"origin": "import", "occurred_at": None}, {"occurred_at": NOON.isoformat()}]),
)
def test_labels_do_not_depend_on_the_order_of_lines_without_times_or_of_one_time(
    fresh_project, events, policy, seed, time
):
    events = [event | time | {"prompt": "Where is it?", "completion": TEXTS[0]} for event in events]
    shuffled = seed.sample(events, len(events))
    first, second = fresh_project(), fresh_project()
    store(first, events)
    store(second, shuffled)

    before, after = labels_and_comparisons(first, policy), labels_and_comparisons(second, policy)

    assert before == after


def labels_and_comparisons(project: str, policy: LabelPolicy) -> tuple[dict, list, list]:
    with transaction() as session:
        found = resolve_all(session, project, policy, watermark=feedback.watermark(session, project))
    ids, actors = found.completions["completion_id"].to_list(), found.actors.to_list()
    labelled = {
        row["completion_id"]: (row["label"], row["weight"], row["reasons"])
        for row in found.completions.iter_rows(named=True)
    }
    compared = [
        (
            ids[row["completion"]],
            row["other"],
            row["preferred"],
            row["not_preferred"],
            row["even"],
            sorted(actors[each] for each in row["actors"]),
        )
        for row in found.comparisons.iter_rows(named=True)
    ]
    rewritten = [
        (ids[row["completion"]], row["key"], row["weight"], sorted(actors[each] for each in row["actors"]))
        for row in found.rewrites.iter_rows(named=True)
    ]
    return labelled, sorted(compared), sorted(rewritten)
