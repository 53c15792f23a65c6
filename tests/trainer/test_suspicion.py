"""Labels that a model trained without them contradicts come first."""

import numpy as np
import pytest

from worker.evaluation.suspicion import LEAST_OF_CLASS, suspicions

ROWS = 400


def holdout(seed: int = 0, share_desirable: float = 0.5) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns rewards that are higher for desirable rows, lengths, the true labels, and prompts of two rows."""
    generator = np.random.default_rng(seed)
    desirable_N = generator.random(ROWS) < share_desirable
    reward_N = np.where(desirable_N, 2.0, -2.0) + generator.normal(0, 1, ROWS)
    return reward_N, generator.integers(5, 50, ROWS), desirable_N, np.arange(ROWS) // 2


@pytest.mark.parametrize("share_desirable", [0.5, 0.85])
def test_flipped_labels_are_found_among_the_most_suspicious_also_where_one_class_is_rare(share_desirable):
    reward_N, tokens_N, desirable_N, groups_N = holdout(share_desirable=share_desirable)
    flipped = np.random.default_rng(1).choice(ROWS, 40, replace=False)
    labels_N = desirable_N.copy()
    labels_N[flipped] = ~labels_N[flipped]

    suspicion_N = suspicions(reward_N, tokens_N, labels_N, groups_N, seed=0)

    assert suspicion_N is not None
    assert suspicion_N.min() >= 0
    assert suspicion_N.max() <= 1
    first = np.argsort(-suspicion_N)[:60]
    assert len(set(flipped) & set(first)) >= 32  # by chance 6 of 40


def test_a_label_is_judged_by_a_fit_that_never_saw_its_prompt():
    reward_N, tokens_N, desirable_N, groups_N = holdout()
    before = suspicions(reward_N, tokens_N, desirable_N, groups_N, seed=0)
    # An absurd reward would distort a fit that includes it, so rows of its own prompt are judged by a fit without it.
    absurd_N = reward_N.copy()
    absurd_N[0] = -200.0 if desirable_N[0] else 200.0

    after = suspicions(absurd_N, tokens_N, desirable_N, groups_N, seed=0)

    assert before is not None
    assert after is not None
    assert after[0] > 0.99
    assert after[1] == before[1]


def test_the_same_rows_and_seed_give_the_same_suspicions():
    one, two = (suspicions(*holdout(), seed=3) for _ in range(2))

    assert np.array_equal(one, two)


def test_too_few_rows_of_a_class_or_too_few_prompts_give_none():
    reward_N, tokens_N, _, groups_N = holdout()
    rare_N = np.arange(ROWS) < LEAST_OF_CLASS - 1

    assert suspicions(reward_N, tokens_N, rare_N, groups_N, seed=0) is None
    assert suspicions(reward_N, tokens_N, ~rare_N, groups_N, seed=0) is None
    half_N = np.arange(ROWS) < ROWS // 2
    assert suspicions(reward_N, tokens_N, half_N, half_N.astype(int), seed=0) is None


def test_a_class_that_stands_under_a_single_prompt_gives_none():
    reward_N, tokens_N, _, groups_N = holdout()
    rare_N = np.arange(ROWS) < 30

    assert suspicions(reward_N, tokens_N, rare_N, np.where(rare_N, 0, groups_N + 1), seed=0) is None
