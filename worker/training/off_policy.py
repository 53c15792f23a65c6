"""The distance of the reference from the models that wrote the rows, and row weights that correct for it.

A row's writer is the model that served its completion y. The server may have logged μ, the mean log-prob per token of y
when it was sampled, in nats. With lp_ref(y|x) summed over y's tokens, and |y| their number,

    d = lp_ref(y|x) / |y| − μ                     nats per token
    w = clip(exp(d), 0.2, 5) / mean of these over the rows of its class, weighed by the rows' own weights

and w = 1 before the division for rows without μ. Each class keeps its summed weight, from which λ was found. A ratio of
whole completions, exp(|y|·d), would be unbiased and of little use: its variance grows exponentially with the length.
The mean per token is biased, and bounded.

The effective sample size is (Σw)² / Σw² (Kish 1965). By its clipping w alone keeps at least 4·0.2·5 / 5.2² = 15 % of
the rows, so what is refused is too small a share of w times the rows' own weights, which the loss takes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.training.data.rows import Row
from worker.training.machine.process import TrainingRefusal
from worker.training.reference import ReferenceScores, sequence_key
from worker.training.training_run import TrainingRun

#: The bounds of exp(d).
CLIP = (0.2, 5.0)
#: Nats per token: a run warns of a larger mean of |d|.
FAR = 0.5
#: A run that corrects for the writers is refused if its effective sample size is a smaller share of its rows.
LEAST_EFFECTIVE = 0.1


@dataclass(frozen=True)
class OffPolicy:
    """The figures of a run's rows.

    weights          w by index of the row, for the rows that the run takes
    with_log_probs   rows with μ
    mean_difference  mean of |d| over these, nats per token
    clipped          those of them whose exp(d) was clipped
    effective_share  effective sample size of w, as a share of the rows
    trained_share    the same of w times the rows' own weights
    """

    weights: Mapping[int, float]
    with_log_probs: int
    mean_difference: float
    clipped: int
    effective_share: float
    trained_share: float

    def report(self, *, corrected: bool) -> dict[str, Any]:
        """Returns the figures for training.json. `corrected`: whether the rows were weighed by w."""
        return {
            "rows_with_log_probs": self.with_log_probs,
            "rows_without": len(self.weights) - self.with_log_probs,
            "mean_absolute_difference": self.mean_difference,
            "clipped": self.clipped,
            "effective_share": self.effective_share,
            "effective_share_with_row_weights": self.trained_share,
            "corrected": corrected,
        }

    def corrected(self, rows: Sequence[Row]) -> list[Row]:
        """Returns the rows with their weights multiplied by w. Raises `TrainingRefusal` if few would decide."""
        if not self.trained_share >= LEAST_EFFECTIVE:
            raise TrainingRefusal(
                "few_effective_rows",
                f"recipe.json: behaviour_correction: weighed by who wrote them, the {len(self.weights)} rows are worth "
                f"only {self.trained_share:.1%} of as many equal ones, {LEAST_EFFECTIVE:.0%} are needed: collect more "
                "feedback on the checkpoint that is live, or set behaviour_correction to false",
            )
        return [replace(row, weight=row.weight * self.weights.get(index, 1.0)) for index, row in enumerate(rows)]


def off_policy(run: TrainingRun, reference: ReferenceScores) -> OffPolicy | None:
    """Returns the figures of the rows that the run takes; None if no row has μ, or the objective has no reference.

    All ranks call it together.
    """
    rows = run.start.read.rows
    if not run.start.objective.reference or all(row.writer_log_prob is None for row in rows):
        return None
    taken = sorted({index for block in run.first_epoch() for index in block.rows})
    keys = {index: sequence_key((rows[index].prompt, rows[index].completion)) for index in taken}
    own = {i: float(reference.known[key].sum(dtype=np.float64)) for i, key in keys.items() if key in reference.known}
    log_probs = run.ranks.gather(own)
    return measured([rows[index] for index in taken], [log_probs[index] for index in taken], taken)


def measured(rows: Sequence[Row], log_probs: Sequence[float], indices: Sequence[int]) -> OffPolicy | None:
    """Returns the figures of `rows`, whose lp_ref is in `log_probs`; None if none of them has μ."""
    writer = np.array([np.nan if row.writer_log_prob is None else row.writer_log_prob for row in rows])
    known = ~np.isnan(writer)
    if not known.any():
        return None
    difference = np.array(log_probs)[known] / [len(row.completion) for row in rows if row.writer_log_prob is not None]
    difference -= writer[known]
    low, high = np.log(CLIP)
    ratio = np.ones(len(rows))
    ratio[known] = np.exp(np.clip(difference, low, high))
    desirable = np.array([row.desirable for row in rows])
    own = np.array([row.weight for row in rows])
    weight = ratio.copy()
    for of_class in (desirable, ~desirable):
        if (summed := own[of_class].sum()) > 0:
            weight[of_class] /= (own * ratio)[of_class].sum() / summed
    return OffPolicy(
        weights=dict(zip(indices, weight.tolist(), strict=True)),
        with_log_probs=int(known.sum()),
        mean_difference=float(np.abs(difference).mean()),
        clipped=int(((difference < low) | (difference > high)).sum()),
        effective_share=_effective_share(weight),
        trained_share=_effective_share(weight * own),
    )


def _effective_share(weight: NDArray[np.float64]) -> float:
    squares = float((weight**2).sum())
    return float(weight.sum()) ** 2 / squares / len(weight) if squares > 0 else 0.0
