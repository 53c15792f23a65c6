"""One batch of DPO, IPO, SLiC, SimPO, ORPO and SFT beside TRL's trainers: loss, rewards, gradients within 1e-6.

Where TRL means another loss, the test says which, shows both equal where both mean the same, and shows ours to be the
one of the formula where they differ.
"""

from typing import Any

import pytest
import torch

from tests.parity import cases, ours, paired
from tests.parity.compare import worst
from tests.trainer import tiny

WITHIN = 1e-6


@pytest.fixture(scope="module")
def policy() -> Any:
    return tiny.model()


@pytest.mark.parametrize("objective", list(paired.DPO_LOSSES))
@pytest.mark.parametrize("beta", [0.05, 0.1, 0.3])
def test_dpo_ipo_and_hinge_equal_trls(policy: Any, objective: str, beta: float) -> None:
    """Chosen and rejected differ in length here: IPO divides each log-ratio by its own."""
    found = paired.preferences_compared(objective, policy, cases.sharpened(policy), cases.preferences(), beta=beta)

    assert worst(found) <= WITHIN


@pytest.mark.parametrize(("beta", "gamma"), [(2.0, 0.5), (2.5, 1.4)])
def test_simpo_equals_trls_without_the_likelihood_term_that_trl_adds_unless_told_not_to(
    policy: Any, beta: float, gamma: float
) -> None:
    """CPOTrainer adds cpo_alpha (1 by default) times the chosen completions' negative log-likelihood to any of its
    losses; SimPO (arXiv 2405.14734, equation 6) has no such term, so cpo_alpha is 0 here."""
    found = paired.simpo_compared(policy, cases.preferences(letters=(9, 9)), beta=beta, gamma=gamma)

    assert worst(found) <= WITHIN


@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_orpo_equals_trls_where_a_prompt_is_one_token_and_completions_are_equally_long(
    policy: Any, beta: float
) -> None:
    """Then TRL's likelihood, over prompt and completion in one mean over all tokens, is the mean over completions: the
    first token of a sequence is never predicted."""
    found = paired.orpo_compared(policy, cases.preferences(letters=(2, 2), prompt="?"), beta=beta)

    assert worst(found) <= WITHIN


def test_orpos_likelihood_leaves_the_prompt_out_where_trl_trains_on_it(policy: Any) -> None:
    """Prompt tokens never count, in any objective: the prompt is what users wrote, not what the model is to say. A
    comment in ORPOTrainer says that its likelihood is "computed over the full prompt and response"."""
    pairs = cases.preferences()
    beta = 0.1

    found = paired.orpo_compared(policy, pairs, beta=beta)

    # then the difference is TRL's likelihood of prompts, and nothing else
    rows = ours.tokenised(cases.as_rows(pairs))[::2]
    with torch.no_grad():
        log_probs = [paired.token_log_probs(policy, [*row.prompt.tolist(), *row.completion.tolist()]) for row in rows]
    everything = -torch.cat(log_probs).mean()
    completions = -torch.cat([lp[-len(row.completion) :] for lp, row in zip(log_probs, rows, strict=True)]).mean()
    assert found["loss"].theirs - found["loss"].ours == pytest.approx(float(everything - completions), rel=1e-4)
    assert found["loss"].relative > 1e-4
    assert found["reward of desirable"].relative <= WITHIN
    assert found["reward of undesirable"].relative <= WITHIN


def test_sft_equals_trls_where_completions_are_equally_long(policy: Any) -> None:
    assert worst(paired.sft_compared(policy, cases.unpaired(desirable=True))) <= WITHIN


def test_sft_counts_every_row_once_where_trl_counts_a_long_row_more(policy: Any) -> None:
    """The objective is the mean log-prob of each example, so that a row weighs what the label policy says. TRL takes
    one mean over all tokens of a batch, in which a completion of 20 tokens weighs as much as five of 4."""
    rows = [{**row, "label": True} for row in tiny.text_rows(4)]

    found = paired.sft_compared(policy, rows)

    read = ours.tokenised(rows)
    with torch.no_grad():
        log_probs = [
            paired.token_log_probs(policy, [*row.prompt.tolist(), *row.completion.tolist()])[-len(row.completion) :]
            for row in read
        ]
    by_row = -torch.stack([lp.mean() for lp in log_probs]).mean()
    by_token = -torch.cat(log_probs).mean()
    assert found["loss"].ours == pytest.approx(float(by_row), rel=1e-5)
    assert found["loss"].theirs == pytest.approx(float(by_token), rel=1e-5)
    assert abs(float(by_row / by_token) - 1) > 1e-3
