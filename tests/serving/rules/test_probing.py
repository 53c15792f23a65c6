"""The verdict of a probe: the checkpoint, its base model, something else, or nothing that can be compared."""

import math

import pytest

from app.checkpoints.probe_file import Probe, ProbePrompt, ProbeReading
from app.serving.probing import judge_greedy, judge_log_probs, tolerance_of


def probe(candidate, base, texts=(("ours", "base"),) * 3) -> Probe:
    prompts = [
        ProbePrompt(
            text="x",
            tokens=[1, *range(len(candidate))],
            candidate=ProbeReading(log_probs=candidate, greedy=ours),
            base=ProbeReading(log_probs=base, greedy=other),
        )
        for ours, other in texts
    ]
    return Probe(precision="float32", greedy_tokens=8, prompts=prompts)


@pytest.mark.parametrize(
    ("served", "verdict"),
    [
        ([-1.0, -2.0], "ok"),
        ([-1.0009, -2.0], "ok"),
        ([-1.0011, -2.0], "differs"),
        ([-3.0, -4.0], "base_instead_of_adapter"),
        ([-9.0, -9.0], "differs"),
        ([math.nan, -2.0], "differs"),
    ],
)
def test_a_token_may_differ_by_a_thousandth_of_a_nat_in_float32(served, verdict):
    found = judge_log_probs(probe([-1.0, -2.0], [-3.0, -4.0]), [served] * 3, 1e-3)

    assert found is not None
    assert (found.verdict, found.told_apart, found.tokens) == (verdict, True, 6)


def test_the_base_model_passes_where_the_probe_cannot_tell_it_from_the_checkpoint():
    found = judge_log_probs(probe([-1.0], [-1.0004]), [[-1.0004]] * 3, 1e-3)

    assert found is not None
    assert (found.verdict, found.told_apart) == ("ok", False)


def test_the_nearer_one_counts_where_both_are_within_a_coarse_tolerance():
    apart = probe([-1.0, -2.0], [-1.4, -2.0])

    ours, base = (judge_log_probs(apart, [served] * 3, 0.3) for served in ([-1.15, -2.0], [-1.25, -2.0]))
    assert ours is not None
    assert base is not None
    assert (ours.verdict, base.verdict) == ("ok", "base_instead_of_adapter")


def test_another_number_of_log_probs_cannot_be_compared():
    assert judge_log_probs(probe([-1.0, -2.0], [-3.0, -4.0]), [[-1.0]] * 3, 1e-3) is None


def test_the_coarser_precision_decides_the_tolerance_unless_the_operator_does():
    in_float32 = probe([-1.0], [-2.0])
    in_bfloat16 = in_float32.model_copy(update={"precision": "bfloat16"})

    assert tolerance_of(in_float32, None, None) == 1e-3
    assert tolerance_of(in_float32, "float16", None) == 0.05
    assert tolerance_of(in_bfloat16, "float32", None) == tolerance_of(in_bfloat16, None, None) == 0.3
    assert tolerance_of(in_bfloat16, None, 0.1) == 0.1


@pytest.mark.parametrize(
    ("served", "verdict"),
    [
        (["ours"] * 3, "ok"),
        (["ours", "ours", "a near tie"], "ok"),
        (["base"] * 3, "base_instead_of_adapter"),
        (["other"] * 3, "differs"),
    ],
)
def test_continuations_are_the_checkpoints_but_for_one_near_tie(served, verdict):
    assert judge_greedy(probe([-1.0], [-2.0]), served).verdict == verdict


def test_equal_continuations_of_both_models_pass_and_say_so():
    found = judge_greedy(probe([-1.0], [-2.0], texts=(("same", "same"),) * 3), ["same"] * 3)

    assert (found.verdict, found.told_apart) == ("ok", False)
