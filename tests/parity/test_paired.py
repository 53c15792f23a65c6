"""One batch of DPO, IPO, SLiC, SimPO, ORPO and SFT equals TRL's trainers in loss, rewards and gradients within 1e-6.

Where TRL defines another loss, the test states the difference, shows that both are equal where the definitions agree,
and shows that ours is the formula's where they do not.
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
    """Uses completions of different lengths, since IPO divides each log-ratio by the length of its own completion."""
    compared = paired.preferences_compared(objective, policy, cases.sharpened(policy), cases.preferences(), beta=beta)

    assert worst(compared) <= WITHIN


@pytest.mark.parametrize(("beta", "gamma"), [(2.0, 0.5), (2.5, 1.4)])
def test_simpo_equals_trls_without_the_likelihood_term_that_trl_adds_by_default(
    policy: Any, beta: float, gamma: float
) -> None:
    """Sets cpo_alpha of CPOTrainer to 0. By default it adds the negative log-likelihood of the chosen completions to
    any of its losses, a term that SimPO (arXiv 2405.14734, equation 6) does not have.
    """
    compared = paired.simpo_compared(policy, cases.preferences(letters=(9, 9)), beta=beta, gamma=gamma)

    assert worst(compared) <= WITHIN


@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_orpo_equals_trls_where_a_prompt_is_one_token_and_completions_are_equally_long(
    policy: Any, beta: float
) -> None:
    """Compares the case in which TRL's likelihood, a mean over all tokens of prompt and completion, is the mean over
    completions, since the first token of a sequence is never predicted.
    """
    compared = paired.orpo_compared(policy, cases.preferences(letters=(2, 2), prompt="?"), beta=beta)

    assert worst(compared) <= WITHIN


def test_orpos_likelihood_leaves_the_prompt_out_where_trl_trains_on_it(policy: Any) -> None:
    """Shows that prompt tokens do not count: the users wrote them, and the model is not to learn them. A comment in
    ORPOTrainer says that its likelihood is "computed over the full prompt and response".
    """
    pairs = cases.preferences()
    beta = 0.1

    compared = paired.orpo_compared(policy, pairs, beta=beta)

    # then the difference is TRL's likelihood of prompts alone
    rows = ours.tokenised(cases.as_rows(pairs))[::2]
    with torch.no_grad():
        log_probs = [paired.token_log_probs(policy, [*row.prompt.tolist(), *row.completion.tolist()]) for row in rows]
    everything = -torch.cat(log_probs).mean()
    completions = -torch.cat([lp[-len(row.completion) :] for lp, row in zip(log_probs, rows, strict=True)]).mean()
    assert compared["loss"].theirs - compared["loss"].ours == pytest.approx(float(everything - completions), rel=1e-4)
    assert compared["loss"].relative > 1e-4
    assert compared["reward of desirable"].relative <= WITHIN
    assert compared["reward of undesirable"].relative <= WITHIN


def test_sft_equals_trls_where_completions_are_equally_long(policy: Any) -> None:
    assert worst(paired.sft_compared(policy, cases.unpaired(desirable=True))) <= WITHIN


def test_sft_counts_every_row_once_where_trl_counts_a_long_row_more(policy: Any) -> None:
    """The objective is the mean log-prob of each example, so that a row has the weight of the label policy. TRL takes
    one mean over all tokens of a batch, in which a completion of 20 tokens weighs as much as five of 4 tokens.
    """
    rows = [{**row, "label": True} for row in tiny.text_rows(4)]

    compared = paired.sft_compared(policy, rows)

    read = ours.tokenised(rows)
    with torch.no_grad():
        log_probs = [
            paired.token_log_probs(policy, [*row.prompt.tolist(), *row.completion.tolist()])[-len(row.completion) :]
            for row in read
        ]
    by_row = -torch.stack([lp.mean() for lp in log_probs]).mean()
    by_token = -torch.cat(log_probs).mean()
    assert compared["loss"].ours == pytest.approx(float(by_row), rel=1e-5)
    assert compared["loss"].theirs == pytest.approx(float(by_token), rel=1e-5)
    assert abs(float(by_row / by_token) - 1) > 1e-3
