"""Previews of policies and explanations of labels, on a small log with counts made by hand."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thumbwheel import wire

from app.database import new_id, transaction
from app.errors import NotFound, Refused
from app.feedback import service as feedback
from app.labels.policies import service as policies
from app.labels.previews import service as previews
from app.labels.quarantine import service as quarantine
from app.snapshots.tables import Snapshot
from tests.desk import DESK, make_project
from tests.labels.one_by_one import resolved
from tests.labels.rows.test_labels_of_whole_logs import POLICIES, TEXTS, fresh_project, logs  # noqa: F401 - a fixture
from tests.logged import register, store

NOW = datetime.now(UTC)
OUTCOMES_FIRST = {
    "name": "outcomes",
    "precedence": ["outcome", "thumbs", "flag", "edit", "rating", "preference", "implicit"],
    "signals": {
        "outcome": {"solved": {"true": {"label": "desirable"}, "false": {"label": "undesirable"}}},
        "copy": None,
    },
}


@pytest.fixture(autouse=True)
def _project(database):
    make_project()


def event(completion_id, actor, signal, *, days_ago=1.0, text=True, **more):
    body = {"kind": "thumbs", "value": signal} if signal in ("up", "down") else signal
    if isinstance(body, str):
        body = {"kind": body}
    carried = {"prompt": f"Question {completion_id}?", "completion": f"Answer {completion_id}."} if text else {}
    moment = (NOW - timedelta(days=days_ago)).isoformat()
    return {"completion_id": completion_id, "actor": actor, "signal": body, "occurred_at": moment, **carried, **more}


def solved(value):
    return {"kind": "outcome", "name": "solved", "value": value}


@pytest.fixture
def log():
    store(
        DESK,
        [
            event("praised", "ann", "up"),
            event("praised", "ann", "copy", text=False),
            event("copied", "bob", "copy"),
            event("wrong", "cid", "up"),
            event("wrong", "cid", solved(False), text=False),
            event("solved", "ann", solved(True)),
            event("spoken of", "bob", {"kind": "outcome", "name": "escalated", "value": True}),
            event("old", "cid", "down", days_ago=40),
            event("nowhere", "cid", "down", text=False),
            event("edited", "ann", {"kind": "edit", "text": "Something else was right here, all of it."}),
        ],
    )


def preview(**new):
    with transaction() as session:
        return previews.preview(session, DESK, wire.NewPreview.model_validate(new))


def create(document):
    with transaction() as session:
        policy = wire.LabelPolicy.model_validate(document)
        return policies.create(session, DESK, wire.NewLabelPolicy(policy=policy), "key test")[0].version


def explain(completion_id):
    with transaction() as session:
        return previews.explain(session, DESK, completion_id)


def test_a_preview_counts_what_flips_against_the_adopted_policy_and_shows_it(log):
    found = preview(policy=OUTCOMES_FIRST)

    flips = {(flip.before, flip.after): flip for flip in found.flips}
    assert {pair: flip.completions for pair, flip in flips.items()} == {
        ("desirable", "desirable"): 1,  # praised
        ("desirable", "undesirable"): 1,  # wrong: the outcome outranks the thumb
        ("desirable", "nothing"): 1,  # copied
        ("undesirable", "undesirable"): 2,  # nowhere, edited
        ("nothing", "desirable"): 1,  # solved
        ("nothing", "nothing"): 1,  # mentioned
    }
    assert found.completions == 7  # not the old one
    [wrong] = flips["desirable", "undesirable"].examples
    assert (wrong.completion_id, wrong.prompt, wrong.completion) == ("wrong", "Question wrong?", "Answer wrong.")
    assert wrong.signals == ["outcome solved false", "thumbs up"]
    assert (wrong.before.label, wrong.before.weight, wrong.before.reasons) == ("desirable", 1.0, ["thumbs_up"])
    assert (wrong.after.label, wrong.after.reasons) == ("undesirable", ["outcome_solved_false"])
    assert flips["undesirable", "undesirable"].examples == []


def test_both_policies_are_counted_by_class_reason_and_signal(log):
    found = preview(policy=OUTCOMES_FIRST)

    assert (found.before.version, found.before.name, found.after.version, found.after.name) == (
        0,
        "default",
        None,
        "outcomes",
    )
    # praised, copied, wrong, and the text that ann wrote; nowhere has no text.
    assert found.before.desirable.model_dump() == {"rows": 4, "weight": 3.5, "without_text": 0}
    assert found.before.undesirable.model_dump() == {"rows": 1, "weight": 1.0, "without_text": 1}
    assert found.before.nothing == 2
    assert found.after.desirable.model_dump() == {"rows": 3, "weight": 3.0, "without_text": 0}
    reasons = {(each.reason, each.label): each.rows for each in found.after.reasons}
    assert reasons == {
        ("thumbs_up", "desirable"): 1,
        ("outcome_solved_true", "desirable"): 1,
        ("edited_text", "desirable"): 1,
        ("outcome_solved_false", "undesirable"): 1,
        ("thumbs_down", "undesirable"): 1,
        ("edit_rewritten", "undesirable"): 1,
        ("no_verdict", "nothing"): 2,
    }
    signals = {
        (each.kind, each.detail, each.says): (each.desirable, each.undesirable, each.nothing)
        for each in found.before.signals
    }
    assert signals["copy", None, "copy"] == (2, 0, 0)
    assert signals["outcome", "solved false", None] == (1, 0, 0)
    assert found.before.guards.weight_before_caps == 4.5


def test_what_the_policy_has_no_word_for_is_reported_not_ignored(log):
    found = preview(policy=OUTCOMES_FIRST)

    assert {(each.kind, each.detail, each.signals) for each in found.unheard} == {
        ("outcome", "escalated", 1),
        ("copy", None, 2),
    }
    assert {(each.kind, each.detail) for each in preview(version=0).unheard} == {
        ("outcome", "escalated"),
        ("outcome", "solved"),
    }


def test_the_days_and_the_version_that_is_compared_with_can_be_chosen(log):
    version = create(OUTCOMES_FIRST)

    same = preview(version=version, against=version, days=60)
    assert same.completions == 8
    assert all(flip.before == flip.after for flip in same.flips)
    assert preview(version=version, days=0.5).completions == 0
    with transaction() as session:
        policies.adopt(session, DESK, version, "", "key test")
    assert preview(version=0).before.version == version


def test_a_snapshots_log_ends_where_it_ended_and_is_compared_with_its_own_policy(log):
    version = create(OUTCOMES_FIRST)
    with transaction() as session:
        watermark = feedback.watermark(session, DESK)
        manifest = {
            "policy": {"name": "outcomes", "version": version, "sha256": policies.get(session, DESK, version).sha256}
        }
        snapshot = Snapshot(project_id=DESK, sha256="a" * 64, watermark=watermark, files={}, manifest=manifest)
        gone = Snapshot(
            project_id=DESK,
            sha256="b" * 64,
            watermark=watermark,
            files={},
            manifest={"policy": {"name": "default", "version": 0, "sha256": "f" * 64}},
        )
        session.add_all([snapshot, gone])
    store(DESK, [event("later", "dan", "up")])

    found = preview(version=0, snapshot_id=str(snapshot.id))

    assert (found.watermark, found.since, found.completions) == (watermark, None, 8)
    assert found.before.version == version
    with pytest.raises(Refused, match="against"):
        preview(version=0, snapshot_id=str(gone.id))
    assert preview(version=0, against=0, snapshot_id=str(gone.id)).completions == 8


def test_a_version_or_snapshot_that_is_not_there_is_named(log):
    with pytest.raises(NotFound, match="label policy 7"):
        preview(version=7)
    with pytest.raises(NotFound, match="label policy 7"):
        preview(version=0, against=7)
    with pytest.raises(NotFound, match="no snapshot"):
        preview(version=0, snapshot_id=str(new_id()))


def test_a_preview_shows_whom_the_guards_leave_out():
    store(DESK, [event(f"c{number}", f"user {number}", "down") for number in range(30)])
    store(DESK, [event(f"c{number}", "bot", "up", days_ago=0.5) for number in range(30)])
    burst = {"guards": {"quarantine": {"burst": {"votes": 20, "seconds": 60}, "one_way": None, "ring": None}}}

    found = preview(policy=burst)

    assert (found.before.guards.quarantined_actors, found.after.guards.quarantined_actors) == (0, 1)
    assert found.after.guards.quarantined_votes == 30
    assert {(flip.before, flip.after): flip.completions for flip in found.flips} == {("nothing", "undesirable"): 30}


def test_an_empty_log_has_an_empty_preview():
    found = preview(version=0)

    assert (found.completions, found.flips, found.unheard) == (0, [], [])


def test_a_label_is_explained_signal_by_signal(log):
    store(
        DESK,
        [
            event("praised", "bob", "up", event_id="bobs"),
            event("praised", "bob", {"kind": "retract"}, text=False, supersedes="bobs"),
            event("praised", "cid", "down"),
            event("praised", "cid", "up", days_ago=0.5),
            event("praised", "dan", "down"),
            event("praised", "dan", {"kind": "comment", "text": "why?"}, text=False),
        ],
    )

    found = explain("praised")

    assert (found.label, found.weight, found.reasons, found.version) == ("desirable", 1.0, ["thumbs_up"], 0)
    assert (found.desirable, found.undesirable) == (2.0, 1.0)
    assert (found.prompt, found.completion) == ("Question praised?", "Answer praised.")
    effects = {(each.actor, each.signal["kind"], each.says): (each.counts, each.label) for each in found.signals}
    assert effects == {
        ("ann", "thumbs", "thumbs_up"): (True, "desirable"),
        ("ann", "copy", "copy"): (False, "desirable"),
        ("bob", "thumbs", "thumbs_up"): (False, "desirable"),
        ("bob", "retract", None): (False, "nothing"),
        ("cid", "thumbs", "thumbs_down"): (False, "undesirable"),
        ("cid", "thumbs", "thumbs_up"): (True, "desirable"),
        ("dan", "thumbs", "thumbs_down"): (True, "undesirable"),
        ("dan", "comment", None): (False, "nothing"),
    }
    why = {(each.actor, each.signal["kind"], each.says): each.why for each in found.signals}
    assert "higher precedence" in why["ann", "copy", "copy"]
    assert "later" in why["cid", "thumbs", "thumbs_down"]
    assert "taken back" in why["bob", "thumbs", "thumbs_up"]
    assert why["bob", "retract", None] == "takes back what the actor said"
    assert found.sentence == (
        "By policy default, version 0, completion praised is desirable at weight 1 (thumbs_up): 3 of 8 signals count, "
        "2 for desirable, 1 for undesirable."
    )


def test_ties_silence_and_late_texts_are_explained_too(log):
    store(DESK, [event("praised", "bob", "down")])
    register(DESK, "registered", {"prompt": "Hi", "completion": "Ho"})

    assert "both sides weigh the same" in explain("praised").sentence
    assert "it has no feedback yet" in explain("registered").sentence
    assert explain("registered").completion == "Ho"
    assert "0 of 1 signals count" in explain("solved").sentence
    assert "text is not known yet" in explain("nowhere").sentence
    with pytest.raises(NotFound, match="has no feedback yet and is not registered"):
        explain("elsewhere")


def test_the_other_side_of_a_preference_is_explained_by_its_id_or_by_that_of_its_text():
    preference = {"kind": "preference", "rejected": "The other.", "rejected_completion_id": "other"}
    store(
        DESK, [event("chosen", "ann", preference), event("best", "ann", {"kind": "preference", "rejected": "Worse."})]
    )

    by_own_id = explain("other")
    assert (by_own_id.label, by_own_id.reasons, by_own_id.completion) == (
        "undesirable",
        ["not_preferred"],
        "The other.",
    )
    with transaction() as session:
        shown = previews.preview(session, DESK, wire.NewPreview(version=0, policy=None))
    assert shown.before.undesirable.rows == 2
    flips = preview(policy={"signals": {"preference": {"not_preferred": None}}}).flips
    [gone] = [flip for flip in flips if flip.before == "undesirable"]
    made_of_text = next(each for each in gone.examples if "#rejected:" in each.completion_id)
    assert made_of_text.completion == "Worse."
    assert explain(made_of_text.completion_id).completion == "Worse."


def test_what_somebody_wrote_instead_and_who_is_in_quarantine_is_shown():
    store(DESK, [event(f"c{number}", f"user {number}", "up") for number in range(70)])
    store(DESK, [event(f"c{number}", "bot", "down", days_ago=0.5) for number in range(70)])
    store(DESK, [event("c1", "ann", {"kind": "edit", "text": "Another text altogether, written by hand."})])

    found = explain("c1")

    assert [(text.text[:12], text.actors) for text in found.texts] == [("Another text", ["ann"])]
    [bot] = [each for each in found.signals if each.actor == "bot"]
    assert (bot.counts, bot.says, bot.label) == (False, "thumbs_down", "undesirable")
    assert "quarantine" in bot.why
    for decision, label in (("released", "nothing"), ("confirmed", "desirable")):
        with transaction() as session:
            new = wire.NewQuarantineDecision(actor="bot", decision=decision, reason="looked at")
            quarantine.decide(session, DESK, new, "key test")
        assert explain("c2").label == label
    assert "quarantine_confirmed" in explain("c2").signals[-1].why


@settings(
    max_examples=4, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(events=logs(), policy=POLICIES, registered=st.booleans())
def test_what_is_explained_is_the_label(fresh_project, events, policy, registered):  # noqa: F811 - the fixture
    project = fresh_project()
    if registered:
        register(project, "c1", {"prompt": "Where?", "completion": TEXTS[0]})
    store(project, events)
    with transaction() as session:
        new = wire.NewLabelPolicy(policy=policy.model_copy(update={"name": "other"}))
        policies.adopt(session, project, policies.create(session, project, new, "key test")[0].version, "", "key test")
        watermark = feedback.watermark(session, project)

        for each in resolved(session, project, policy, watermark=watermark):
            explanation = previews.explain(session, project, each.completion_id)

            assert (
                explanation.label == {True: "desirable", False: "undesirable", None: "nothing"}[each.resolution.label]
            )
            assert (explanation.weight, explanation.reasons) == (each.resolution.weight, list(each.resolution.reasons))
            assert explanation.completion == each.completion
            sums = dict.fromkeys(("desirable", "undesirable", "nothing"), 0.0)
            # An actor has one verdict. It may rest on several comparisons: most of them say it.
            counted: dict[str, list[wire.ExplainedSignal]] = {}
            for signal in explanation.signals:
                if signal.counts and signal.says is not None:
                    counted.setdefault(signal.actor, []).append(signal)
            for signals in counted.values():
                labels = [signal.label for signal in signals]
                label = max(labels, key=labels.count)
                sums[label] += next(signal.weight for signal in signals if signal.label == label)
            expected = (explanation.desirable, explanation.undesirable)
            assert (sums["desirable"], sums["undesirable"]) == pytest.approx(expected)
