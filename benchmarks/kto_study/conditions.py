"""The conditions of the study, and the claims of the paper that they test. Pure.

The paper is arXiv 2402.01306. The claims follow its first version unless they name a later one. The paper measures no
model of this size, so a different result does not refute it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Condition:
    """One way to train. The defaults are those of `baseline`: the demo's preset on all rows, λ by `auto`."""

    name: str
    keep_desirable: float = 1.0  # share of the desirable rows that is kept, drawn at random
    flipped: float = 0.0  # share of the labels of each class that is flipped, drawn at random
    recipe: Mapping[str, Any] = field(default_factory=dict)  # changes to the preset


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, and the conditions that test it. Each of them is compared with the baseline."""

    about: str
    says: str
    source: str
    conditions: tuple[Condition, ...]


BASELINE = Condition("baseline")

CLAIMS = (
    Claim(
        "few desirable rows",
        "With 90 % of the desirable examples discarded and λ_D raised to 13.33, a KTO-aligned Llama-7B still wins "
        "against its DPO counterpart; λ_D·n_D / (λ_U·n_U) should stay within 1 and 4/3.",
        "version 1, sections 4.1 and 4.2, equation 8 and figure 6",
        (
            Condition("few-desirable", keep_desirable=0.1),
            Condition("few-desirable-as-many-steps", keep_desirable=0.1, recipe={"epochs": 4}),
            Condition(
                "few-desirable-even-lambda",
                keep_desirable=0.1,
                recipe={"lambda_desirable": 1.0, "lambda_undesirable": 1.0},
            ),
        ),
    ),
    Claim(
        "label noise",
        "KTO does not learn from undesirable examples with sufficiently high rewards or desirable ones with "
        "sufficiently low rewards (proposition 4.1), so it implicitly ignores noisy and intransitive data.",
        "version 1, section 4.3",
        (
            Condition("noise-10", flipped=0.1),
            Condition("noise-20", flipped=0.2),
            Condition("noise-30", flipped=0.3),
        ),
    ),
    Claim(
        "no z0",
        "A reference point of 0 in place of z0 costs 4.0 points of GSM8K and 3.6 of BBH on Zephyr-β-SFT.",
        "later versions, section 4.3 and table 2, as a summary of version 5 quotes it",
        (Condition("no-z0", recipe={"objective": "apo_zero_unpaired"}),),
    ),
    Claim(
        "β",
        "β = 0.1 is close to best on most datasets; a lower β penalises moving away from the reference less.",
        "version 1, section 4.1",
        (
            Condition("beta-0.1", recipe={"beta": 0.1}),
            Condition("beta-0.25", recipe={"beta": 0.25}),
            Condition("beta-1", recipe={"beta": 1.0}),
        ),
    ),
)

CONDITIONS = (BASELINE, *(condition for claim in CLAIMS for condition in claim.conditions))
