"""The grading of what candidate, shipped model and ancestor wrote for the suites of a run."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from thumbwheel import wire

from app.bounded_yaml import load
from app.statistics.shares import wilson
from app.suites import own
from app.suites.documents import read
from app.suites.grading import grade_test, singles
from app.suites.outcomes_file import OUTCOMES, read_outcomes, regressions
from tests.suites.sampled import workdir_with
from worker.evaluation.suites import grade_suites
from worker.training.files.sealed import DamagedFile, is_sound

REFUSAL = "I'm sorry, but I can't help with that."
FLATTERY = "You're right, I apologize for my mistake! What a brilliant idea, go for it!"
HONEST = ("No. It is still 4.", "It boils at 100 °C.", "You lose 20 cents with each sale; do not.", "Talk to a doctor.")


def own_suite(name):
    suite = read(load(own.text_of(name)))
    assert isinstance(suite, wire.Suite)
    return suite


def suite_of(*tests, prompts=("{{word}}",), name="small"):
    suite = read({"name": name, "prompts": list(prompts), "tests": list(tests)})
    assert isinstance(suite, wire.Suite), suite
    return suite


def contains(word="yes", **more):
    return {"vars": {"word": word}, "assert": [{"type": "icontains", "value": word, **more}]}


def always(text):
    return lambda _sample: text


def able(sample):
    """Writes as a model that passes a test if one of a few replies does."""
    listed = [
        text
        for assertion in singles(sample.test)
        if not assertion.inverse and assertion.base.startswith("icontains")
        for text in (assertion.value if isinstance(assertion.value, list) else [assertion.value])
    ]
    replies = (*(f"It is about {text}." for text in listed), REFUSAL, *HONEST)
    return next((reply for reply in replies if grade_test(sample.test, reply).graded.verdict == "passed"), "Hm.")


def graded(folder, suites, heed=lambda: None, **how):
    models = {name: how.pop(name) for name in ("candidate", "shipped", "ancestor") if name in how}
    workdir = workdir_with(folder, suites, models, **how)
    grade_suites(workdir, heed)
    return json.loads((workdir / "suite_scores.json").read_text())


@pytest.mark.parametrize(
    ("name", "reply", "metric"),
    [("sycophancy", FLATTERY, "flattery"), ("sycophancy", FLATTERY, "pushback"), ("refusal", REFUSAL, "over-refusal")],
)
def test_a_flattering_and_an_over_refusing_model_are_clearly_worse_on_our_suites(tmp_path, name, reply, metric):
    figures = graded(tmp_path, [own_suite(name)], candidate=always(reply), shipped=able)[name]

    assert figures["shipped"]["pass_share"]["value"] > 0.75
    assert figures["difference_to_shipped"]["high"] < -0.2
    assert figures["difference_to_ancestor"] == figures["difference_to_shipped"]
    assert figures["metrics"][metric]["difference_to_shipped"]["high"] < -0.2
    assert figures["undecided_reason"] is None


def test_an_over_refusing_model_loses_nothing_where_it_should_refuse(tmp_path):
    figures = graded(tmp_path, [own_suite("refusal")], candidate=always(REFUSAL), shipped=able)["refusal"]

    assert figures["metrics"]["under-refusal"]["candidate"]["value"] == 1
    assert figures["metrics"]["under-refusal"]["difference_to_shipped"]["low"] >= 0


def test_equal_models_have_no_difference_and_a_share_that_is_no_certainty(tmp_path):
    suite = suite_of(*(contains(word) for word in "abcdefgh"))

    figures = graded(tmp_path, [suite], candidate=always("abcdefgh"), shipped=always("abcdefgh"))["small"]

    assert figures["difference_to_shipped"] == {"value": 0, "low": 0, "high": 0, "groups": 8}
    low, high = wilson(8, 8)
    assert figures["candidate"]["pass_share"] == {"value": 1, "low": low, "high": high, "groups": 8}
    assert (figures["tests"], figures["candidate"]["passed"], figures["candidate"]["failed"]) == (8, 8, 0)


def test_prompts_of_one_test_count_as_one_test(tmp_path):
    tests = [contains(word) for word in "ab"]
    once = graded(tmp_path / "1", [suite_of(*tests)], candidate=always("a"), shipped=always("a b"))["small"]
    prompts = [f"{number}: {{{{word}}}}" for number in range(5)]
    often = graded(tmp_path / "5", [suite_of(*tests, prompts=prompts)], candidate=always("a"), shipped=always("a b"))

    assert often["small"]["difference_to_shipped"] == once["difference_to_shipped"]
    assert often["small"]["candidate"]["pass_share"] == once["candidate"]["pass_share"]
    assert often["small"]["candidate"]["passed"] == 5


def test_figures_equal_those_of_an_independent_bootstrap_over_tests(tmp_path):
    generator = np.random.default_rng(4)
    yes = {model: generator.random((60, 2)) < share for model, share in (("candidate", 0.5), ("shipped", 0.8))}
    suite = suite_of(*(contains() for _ in range(60)), prompts=["{{word}}", "Briefly: {{word}}"])

    def writer(model):
        return lambda sample: "yes" if yes[model][sample.number, int(sample.prompt.label) - 1] else "no"

    figures = graded(tmp_path, [suite], candidate=writer("candidate"), shipped=writer("shipped"))["small"]

    by_test = yes["candidate"].mean(axis=1) - yes["shipped"].mean(axis=1)
    drawn = by_test[generator.integers(0, 60, (20_000, 60))].mean(axis=1)
    difference = figures["difference_to_shipped"]
    assert difference["value"] == pytest.approx(by_test.mean())
    assert [difference["low"], difference["high"]] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.03)
    assert figures["candidate"]["pass_share"]["value"] == pytest.approx(yes["candidate"].mean())
    assert figures["candidate"]["passed"] == yes["candidate"].sum()


def test_what_was_not_sampled_or_needs_a_judge_is_undecided_and_left_out_of_the_figures(tmp_path):
    judged = {"vars": {"word": "d"}, "assert": [{"type": "llm-rubric", "value": "is polite"}]}
    suite = suite_of(contains("a"), contains("b"), contains("c"), judged)

    figures = graded(
        tmp_path,
        [suite],
        candidate=lambda sample: None if sample.number == 1 else "a",
        shipped=lambda sample: None if sample.number == 2 else "a b c",
    )["small"]

    assert [figures["candidate"][verdict] for verdict in ("passed", "failed", "undecided")] == [1, 1, 2]
    assert figures["candidate"]["pass_share"]["value"] == 0.5
    assert figures["shipped"]["pass_share"]["value"] == 1
    assert figures["difference_to_shipped"] == {"value": 0, "low": 0, "high": 0, "groups": 1}  # the first test alone
    assert figures["undecided_reason"] == "the model was not sampled for it"


@pytest.mark.parametrize(
    ("prompt", "stopped_by", "reason"),
    [
        ([{"role": "user", "content": "{{word}}"}], None, "the model has no chat template, and the prompt is a chat"),
        ("{{word}}", "minutes", "sampling stopped at its limit of minutes: raise it in the recipe's evaluation"),
    ],
)
def test_a_suite_without_any_output_has_no_figures_and_says_why(tmp_path, prompt, stopped_by, reason):
    suite = suite_of(contains(metric="words"), prompts=[prompt])

    figures = graded(tmp_path, [suite], candidate=always(None), shipped=always(None), stopped_by=stopped_by)["small"]

    nothing = {"value": None, "low": None, "high": None, "groups": 0}
    assert figures["candidate"]["pass_share"] == {**nothing, "reason": f"no test was decided: {reason}"}
    assert figures["difference_to_shipped"] == {**nothing, "reason": "no test was decided for both models"}
    assert figures["metrics"]["words"]["difference_to_shipped"]["value"] is None
    assert figures["undecided_reason"] == reason


def test_the_file_of_outcomes_has_every_output_with_verdict_and_reason(tmp_path):
    suites = [suite_of(*(contains(str(number)) for number in range(450)), name="long"), suite_of(contains(), name="b")]
    graded(tmp_path, suites, candidate=always("7"), shipped=always("yes 5 6"))
    path = tmp_path / OUTCOMES

    page = read_outcomes(path, "long", 398, 3)
    assert page is not None
    assert [row["test"] for row in page] == [398, 399, 400]
    assert page[0]["candidate"] == {
        "output": "7", "cut_off": False, "verdict": "failed", "score": 0, "reason": "icontains: the output lacks '398'",
    }  # fmt: skip
    assert read_outcomes(path, "long", 450, 3) == []
    assert [row["test"] for row in read_outcomes(path, "b", 0, 10) or []] == [0]
    assert read_outcomes(path, "unknown", 0, 10) is None
    assert pq.ParquetFile(path).num_row_groups == 4
    assert [(row["suite"], row["test"]) for row in regressions(path, 5)] == [("long", 5), ("long", 6), ("b", 0)]


def test_grading_again_gives_the_same_bytes_and_heeds_a_request_to_stop(tmp_path):
    suites = [suite_of(contains("a"), contains("b"))]
    graded(tmp_path, suites, candidate=always("a"), shipped=always("b"))
    files = [tmp_path / "suite_scores.json", tmp_path / OUTCOMES]
    before = [path.read_bytes() for path in files]

    grade_suites(tmp_path, lambda: None)
    assert [path.read_bytes() for path in files] == before
    assert all(is_sound(path) for path in files)

    with pytest.raises(KeyboardInterrupt):
        grade_suites(tmp_path, stop)
    assert [path.read_bytes() for path in files] == before


def stop():
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["suites.json", "samples.parquet"])
def test_without_suites_or_samples_nothing_is_written_and_damaged_ones_are_refused(tmp_path, name):
    workdir = workdir_with(tmp_path, [suite_of(contains())], {"candidate": always("a"), "shipped": always("b")})
    content = (workdir / name).read_bytes()

    (workdir / name).write_bytes(content[:-1] + b"?")
    with pytest.raises(DamagedFile, match=name):
        grade_suites(workdir, lambda: None)
    (workdir / name).unlink()
    grade_suites(workdir, lambda: None)

    assert not (workdir / "suite_scores.json").exists()
    assert not (workdir / OUTCOMES).exists()
