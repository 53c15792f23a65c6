"""The decision of gates: passed, refused or undecided, with figure, bound and remedy."""

import copy
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thumbwheel import wire

from app.gates.decide import decide
from app.gates.documents import name_of
from app.gates.metrics import METRICS
from app.gates.presets import PRESETS, STANDARD, TOY
from tests.gates.rules.scores import COLLAPSED, GOOD, TRAINING, changed, figure, suite


def of(rule: dict[str, Any], scores: dict[str, Any], **document: Any) -> wire.RuleDecision:
    """Returns the decision of a single rule."""
    gates = wire.GateDocument(name="one", rules=[rule], **document)
    (row,) = decide(gates, scores, TRAINING).rules[-1:]
    return row


def of_suites(rules: list[dict[str, Any]], scores: dict[str, Any]) -> list[wire.RuleDecision]:
    return decide(wire.GateDocument(name="one", suites=rules), scores, TRAINING).rules


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_a_sound_candidate_passes(preset):
    lenient = wire.GateMinimum() if preset.name == "strict" else preset.minimum
    scores = copy.deepcopy(GOOD)
    if preset.name == "strict":  # it demands narrower intervals than the sound scores have
        scores["auroc_difference"] = figure(0.1, 0.0, 0.2)
        scores["samples"]["against_shipped"]["length_ratio"] = figure(1.0, 0.97, 1.03, 150)

    decision = decide(preset.model_copy(update={"minimum": lenient}), scores, TRAINING)

    assert (decision.verdict, decision.reasons) == ("passed", [])
    assert {row.verdict for row in decision.rules} == {"passed"}


def test_scores_without_any_figure_decide_nothing_and_each_reason_says_so():
    decision = decide(TOY, {}, {})

    assert decision.verdict == "undecided"
    assert [reason.split(": ")[0] for reason in decision.reasons] == [
        "groups",
        "rows_desirable",
        "rows_undesirable",
        "auroc",
        "auroc:shipped",
        "kl.nats_per_token",
        "length.ratio:shipped",
        "findings",
    ]
    assert all("unknown" in reason for reason in decision.reasons)


AUROC = {"metric": "auroc", "above": 0.5}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.501, 0.9, "passed"),
        (0.5, 0.9, "undecided"),  # above excludes its bound
        (0.3, 0.499, "refused"),
        (0.3, 0.5, "refused"),
        (0.5, 0.5, "refused"),  # an untouched model
        (0.45, 0.55, "undecided"),
        (None, 0.9, "undecided"),
        (nan, 0.9, "undecided"),
        (0.6, inf, "undecided"),
        (0.9, 0.6, "undecided"),
    ],
)
def test_the_whole_interval_decides(low, high, expected):
    scores = changed("auroc", to={"value": 0.5, "low": low, "high": high})

    assert of(AUROC, scores).verdict == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.87, 1.15, "passed"),
        (0.86, 1.0, "undecided"),
        (1.0, 1.151, "undecided"),
        (1.151, 1.3, "refused"),
        (0.7, 0.869, "refused"),
        (0.8, 1.2, "undecided"),
    ],
)
def test_a_range_has_two_bounds_that_an_interval_may_touch(low, high, expected):
    rule = {"metric": "samples.length_ratio", "compared_with": "shipped", "at_least": 0.87, "at_most": 1.15}
    scores = changed("samples", "against_shipped", "length_ratio", to=figure((low + high) / 2, low, high, 150))

    assert of(rule, scores).verdict == expected


@pytest.mark.parametrize(("bound", "expected"), [(1.25, "passed"), (1.24, "refused")])
def test_a_figure_without_an_interval_is_decided_by_its_value(bound, expected):
    row = of({"metric": "length.ratio", "compared_with": "shipped", "at_most": bound}, GOOD)

    assert row.verdict == expected
    assert (row.reason is None) == (expected == "passed")
    assert row.confidence is None


COMPARISONS = [(name, comparison) for name, metric in METRICS.items() for comparison in metric.readings]


@pytest.mark.parametrize(("name", "compared_with"), COMPARISONS)
@pytest.mark.parametrize("fault", [None, nan, inf, "0.9", True, {}])
def test_every_metric_passes_on_a_sound_figure_and_is_undecided_without_one(name, compared_with, fault):
    metric = METRICS[name]
    path = metric.readings[compared_with]
    rule = {"metric": name, "compared_with": compared_with, "at_least": max(metric.ranges[compared_with][0], -9)}

    assert of(rule, GOOD).verdict == "passed"
    missing = of(rule, changed(*path, to=fault))
    assert missing.verdict == "undecided"
    assert "is unknown (the scores have no such figure)" in missing.reason
    if metric.interval:
        for end in ("value", "low", "high"):
            assert of(rule, changed(*path, end, to=fault)).verdict == "undecided"


def test_rules_on_replayed_answers_go_by_the_interval_and_are_undecided_without_a_judge():
    mended, broken = {"metric": "replay.mended", "at_least": 0.5}, {"metric": "replay.broken", "at_most": 0.15}
    scores = changed("judge", "replay", "broken", "candidate", to=figure(0.3, 0.21, 0.4, 100))

    assert (of(mended, GOOD).verdict, of(broken, GOOD).verdict) == ("passed", "passed")
    refused = of(broken, scores)
    assert (refused.verdict, refused.groups) == ("refused", 100)
    assert "the share of liked answers that the judge prefers to the new reply is 0.300" in refused.reason
    without = of(broken, {name: section for name, section in GOOD.items() if name != "judge"})
    assert without.verdict == "undecided"
    assert without.reason.endswith("configure a judge and raise its budget, or remove the rule")
    few = of({"metric": "replay.repeated", "at_most": 0.5}, GOOD, minimum={"groups": 150})
    assert (few.verdict, few.enough_groups) == ("undecided", 150)
    assert "raise evaluation.replay, or collect more feedback" in few.reason


def test_a_figure_of_no_groups_decides_nothing():
    rule = {"metric": "samples.refusal_share", "at_most": 0.1}

    row = of(rule, changed("samples", "candidate", "refusal_share", to=figure(0, 0, 0, 0)))

    assert row.verdict == "undecided"
    assert "it rests on no sampled prompts" in row.reason


@pytest.mark.parametrize(("value", "expected"), [(0.0, "undecided"), (1.0, "undecided")])
def test_a_figure_of_fewer_groups_than_the_minimum_decides_nothing(value, expected):
    rule = {"metric": "samples.refusal_share", "at_most": 0.1}
    scores = changed("samples", "candidate", "refusal_share", to=figure(value, value, value, 12))

    row = of(rule, scores, minimum={"groups": 30})

    assert (row.verdict, row.groups, row.enough_groups) == (expected, 12, 30)
    assert "12 sampled prompts decide nothing, 30 are needed" in row.reason


def test_an_interval_of_another_confidence_is_derived_from_its_standard_error():
    scores = {**GOOD, "auroc": figure(0.6, 0.53, 0.67)}  # the lower bound at 99 % is 0.508

    row = of({**AUROC, "confidence": 0.99}, scores)
    assert row.verdict == "passed"
    assert (round(row.low, 3), round(row.high, 3), row.confidence) == (0.508, 0.692, 0.99)
    assert of({**AUROC, "confidence": 0.999}, scores).verdict == "undecided"
    as_scored = of({**AUROC, "confidence": None}, {**scores, "confidence": 0.9})
    assert (as_scored.low, as_scored.high, as_scored.confidence) == (0.53, 0.67, 0.9)


def test_a_refusal_names_figure_interval_bound_and_remedy():
    row = of(AUROC, changed("auroc", to=figure(0.41, 0.36, 0.46)))

    assert row.reason == (
        "auroc: AUROC on held-out feedback is 0.410 (95 % interval 0.360 to 0.460), it must be above 0.5: collect more "
        "feedback, or train longer or with a higher learning rate"
    )
    row = of({"metric": "auroc", "compared_with": "dumb_readers", "at_least": 0.2}, GOOD)
    assert row.reason.startswith(
        "auroc:dumb_readers: the difference of AUROC on held-out feedback from that of the best dumb reader (bag of "
        "words) is 0.100 (95 % interval 0.020 to 0.180), it must be at least 0.2: see the overlap"
    )
    row = of({"metric": "length.ratio", "compared_with": "shipped", "at_least": 0.5, "at_most": 1}, GOOD)
    assert row.reason == (
        "length.ratio:shipped: the ratio of median lengths of sampled completions against the shipped model (40 "
        "tokens, the reference's 32) is 1.250, it must be 0.5 to 1: check whether desirable rows are longer or shorter "
        "than undesirable ones, raise beta or lower the learning rate"
    )


def test_an_undecided_rule_says_how_many_groups_would_do():
    scores = {**GOOD, "auroc_difference": figure(0.0, -0.08, 0.08)}

    row = of({"metric": "auroc", "compared_with": "shipped", "at_least": -0.05}, scores)

    # (1.960 + 0.842)² · (0.08 / 1.960 / 0.05)² · 150
    assert (row.verdict, row.groups, row.enough_groups) == ("undecided", 150, 785)
    assert row.reason.endswith(
        "it must be at least -0.05, and the interval reaches across that bound with 150 held-out prompts: about 785 "
        "would decide it if the candidate equals the shipped model: collect more feedback, or raise "
        "snapshot.holdout_share"
    )


def test_an_absolute_figure_is_assumed_to_stay_as_it_is():
    row = of(AUROC, changed("auroc", to=figure(0.55, 0.45, 0.65)))

    # (1.960 + 0.842)² · (0.1 / 1.960 / 0.05)² · 150
    assert row.enough_groups == 1226
    assert "about 1,226 would decide it if the figure stays as it is" in row.reason
    broken = of(AUROC, changed("auroc", to=figure(0.45, 0.35, 0.55)))
    assert (broken.verdict, broken.enough_groups) == ("undecided", 1226)


def test_the_scorer_s_own_reason_is_passed_on():
    absent = {"value": None, "low": None, "high": None, "reason": "the holdout has rows of one class only"}

    row = of(AUROC, changed("auroc", to=absent))

    assert "is unknown (the holdout has rows of one class only), it must be above 0.5: " in row.reason


def test_what_the_trainer_found_refuses_by_its_code_or_its_severity():
    harmless = {"code": "gradients_apart", "severity": "warning", "message": "…"}
    by_code = wire.GateDocument(name="codes", findings={"refused": ["rewards_fall"]})
    by_severity = wire.GateDocument(name="errors", findings={"errors": True})

    for gates in (by_code, by_severity):
        decision = decide(gates, GOOD, {"findings": [harmless, COLLAPSED]})
        assert decision.verdict == "refused"
        assert decision.reasons == [f"rewards_fall: {COLLAPSED['message']}"]
        assert decide(gates, GOOD, {"findings": [harmless]}).verdict == "passed"
        for unknown in ({}, {"findings": None}):
            assert decide(gates, GOOD, unknown).verdict == "undecided"
    older = {"code": "length_drift", "message": "…"}
    assert decide(by_code, GOOD, {"findings": [older]}).verdict == "passed"
    assert decide(by_severity, GOOD, {"findings": [older]}).verdict == "undecided"


@pytest.mark.parametrize(
    ("minimum", "name", "count"),
    [("rows", "rows", 100), ("groups", "groups", 30), ("rows_of_each_class", "rows_desirable", 30),
     ("rows_of_each_class", "rows_undesirable", 30)],
)  # fmt: skip
def test_a_holdout_below_the_minimum_decides_nothing(minimum, name, count):
    gates = STANDARD.model_copy(update={"minimum": wire.GateMinimum(**{minimum: count})})

    assert decide(gates, changed(name, to=count), TRAINING).verdict == "passed"
    for too_few in (count - 1, 0, None, nan):
        decision = decide(gates, changed(name, to=too_few), TRAINING)
        assert decision.verdict == "undecided"
        assert decision.reasons[0].startswith(f"{name}: ")
        assert f"{count} are needed" in decision.reasons[0]


def test_refusals_come_before_what_is_undecided():
    scores = {**changed("rows", to=32), "auroc_difference": figure(-0.3, -0.4, -0.2)}

    decision = decide(STANDARD, scores, TRAINING)

    assert decision.verdict == "refused"
    assert [reason.split(": ")[0] for reason in decision.reasons] == ["auroc:shipped", "rows"]


@pytest.mark.parametrize(
    ("scores", "training"),
    [
        (changed("kl", "nats_per_token", to=figure(3.0, 2.0, 4.0)), TRAINING),
        (changed("kl", "nats_per_token", to=figure(0.5, 0.2, 0.8)), TRAINING),
        (changed("length", "ratio", to=3.0), TRAINING),
        (changed("kl", to={}), TRAINING),
        (GOOD, {"findings": [COLLAPSED]}),
    ],
)
def test_no_reason_asks_to_train_harder_where_another_says_that_training_went_too_far(scores, training):
    for auroc in (figure(0.4, 0.35, 0.45), figure(0.5, 0.4, 0.6)):
        reasons = decide(TOY, {**scores, "auroc": auroc}, training).reasons

        assert len(reasons) == 2
        assert not any("train longer" in reason for reason in reasons)


# -- suites -----------------------------------------------------------------------------------------------------------


def test_every_suite_of_the_run_is_judged_and_a_suite_s_own_rule_takes_its_place():
    scores = {
        **GOOD,
        "suites": {"tone": suite(), "sycophancy": suite(-0.08, -0.1, -0.06), "facts": suite(0, -0.1, 0.1)},
    }
    every, own = {"suite": "every", "at_least": -0.05}, {"suite": "sycophancy", "at_least": -0.2}

    rows = of_suites([every, own], scores)

    assert {row.rule: row.verdict for row in rows} == {
        "suite:tone": "passed",
        "suite:facts": "undecided",
        "suite:sycophancy": "passed",
    }
    assert {row.rule: row.verdict for row in of_suites([every], scores)}["suite:sycophancy"] == "refused"


def test_a_suite_may_have_a_bound_of_its_own_share_or_of_a_metric():
    rules = [
        {"suite": "refusal", "compared_with": "absolute", "at_least": 0.7},
        {"suite": "refusal", "compared_with": "ancestor", "at_least": -0.05},
        {"suite": "refusal", "metric": "tone", "at_least": -0.05},
        {"suite": "refusal", "metric": "wit", "compared_with": "absolute", "at_least": 0.1},
    ]

    rows = of_suites(rules, GOOD)

    assert [(row.rule, row.verdict) for row in rows] == [
        ("suite:refusal:absolute", "passed"),
        ("suite:refusal:ancestor", "passed"),
        ("suite:refusal/tone", "passed"),
        ("suite:refusal/wit:absolute", "undecided"),
    ]


@pytest.mark.parametrize("suites", [None, {}, {"sycophancy": None}, {"sycophancy": {"undecided_reason": "no judge"}}])
def test_a_missing_or_undecided_suite_is_undecided_and_says_so(suites):
    row = of_suites([{"suite": "sycophancy", "at_least": -0.05}], {**GOOD, "suites": suites})[0]

    assert row.verdict == "undecided"
    assert ("no judge" in row.reason) or ("the run did not have this suite" in row.reason)


def test_a_rule_for_every_suite_needs_one():
    (row,) = of_suites([{"suite": "every", "at_least": -0.05}], {**GOOD, "suites": {}})

    assert (row.verdict, row.rule) == ("undecided", "suite:every")
    assert "the run had no suites" in row.reason


# -- properties -------------------------------------------------------------------------------------------------------

number = st.one_of(st.none(), st.just(nan), st.just(inf), st.just(-inf), st.floats(-2, 2))
figures = st.fixed_dictionaries({"value": number, "low": number, "high": number})


@given(st.sampled_from(COMPARISONS), figures, st.floats(-1, 1))
def test_no_rule_passes_without_a_whole_figure_inside_its_bound(comparison, drawn, bound):
    name, compared_with = comparison
    metric = METRICS[name]
    to = drawn if metric.interval else drawn["value"]
    rule = wire.GateRule(metric=name, compared_with=compared_with, at_least=bound)

    row = of(rule.model_dump(), changed(*metric.readings[compared_with], to=to))

    ends = [drawn["value"], drawn["low"], drawn["high"]] if metric.interval else [drawn["value"]]
    if row.verdict == "passed":
        assert all(isinstance(end, float) and bound <= end < inf for end in ends[1:] or ends)
    if not all(isinstance(end, float) and -inf < end < inf for end in ends):
        assert row.verdict == "undecided"


@given(
    st.floats(-0.3, 0.3), st.floats(0.01, 2), st.integers(2, 500), st.integers(2, 100), st.floats(-0.2, 0.2),
    st.sampled_from([0.8, 0.95, 0.99]),
)  # fmt: skip
def test_more_data_with_the_same_effect_never_turns_a_refusal_into_a_pass(effect, spread, groups, times, bound, level):
    rule = wire.GateRule(metric="auroc", compared_with="shipped", at_least=bound, confidence=level)

    def verdict_of(count: int) -> str:
        half = 1.96 * spread / count**0.5
        scores = {**GOOD, "groups": count, "auroc_difference": figure(effect, effect - half, effect + half)}
        return of(rule.model_dump(), scores, minimum={"groups": 30}).verdict

    first, later = verdict_of(groups), verdict_of(groups * times)

    assert (first, later) not in {("refused", "passed"), ("passed", "refused"), ("refused", "undecided")}


def test_rules_of_presets_have_distinct_names():
    for preset in PRESETS.values():
        names = [name_of(rule) for rule in preset.rules]
        assert len(names) == len(set(names))
