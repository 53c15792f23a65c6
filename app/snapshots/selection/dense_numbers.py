"""Numbers without gaps in the place of any numbers. Pure."""

import numpy as np
from numpy.typing import NDArray


def dense(numbers: NDArray[np.int32]) -> NDArray[np.int32]:
    """Returns the numbers renumbered from 0 without gaps, in the same order."""
    return (np.cumsum(present(numbers), dtype=np.int32) - 1)[numbers]


def present(numbers: NDArray[np.int32]) -> NDArray[np.bool_]:
    there = np.zeros(int(numbers.max(initial=-1)) + 1, dtype=bool)
    there[numbers] = True
    return there
