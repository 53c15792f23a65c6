"""Estimates the KL divergence of two models from tokens that one of them sampled. Pure numpy.

Legend: N sampled tokens.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def drift_of_tokens(policy_N: NDArray[Any], reference_N: NDArray[Any]) -> NDArray[np.float64]:
    """Returns k3 per sampled token, (N,): an unbiased estimate of KL(policy ‖ reference) in nats, never negative.

    With d = log ref − log policy, k3 = e^d − 1 − d (Schulman 2020, "Approximating KL divergence").
    """
    d_N = reference_N.astype(np.float64) - policy_N.astype(np.float64)
    return np.asarray(np.expm1(d_N) - d_N)
