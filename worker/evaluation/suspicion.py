"""Detects labels that look wrong to a model that never saw them. Pure arrays.

Legend: N rows.

The holdout's rewards come from a candidate that was not trained on these rows. A logistic regression from reward,
reward per token and length to the label is fitted, fold by fold, to other prompts than those it judges. From its
out-of-fold probabilities cleanlab computes the trust in each label (self-confidence: Northcutt, Jiang and Chuang,
JAIR 70, 2021). Both classes weigh the same in the fit: otherwise every label of the rarer class would look wrong.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

FOLDS = 5
#: Smallest number of rows of each class: with fewer, chance dominates the fit.
LEAST_OF_CLASS = 20


def suspicions(reward_N: Array, tokens_N: Array, desirable_N: Array, groups_N: Array, seed: int) -> Array | None:
    """Returns the suspicion of each label, 0 to 1, (N,), or None if rows or prompts with both labels are too few.

    reward_N     lp_candidate − lp_reference of the completion, in nats, summed
    tokens_N     number of tokens in the completion
    desirable_N  the label
    groups_N     number of the row's prompt: rows of one prompt are judged by a fit that saw none of them
    """
    if min(int(desirable_N.sum()), int((~desirable_N).sum())) < LEAST_OF_CLASS:
        return None
    # Imported only if they are needed, as that takes seconds.
    from cleanlab.rank import get_label_quality_scores
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(groups_N)) < FOLDS:
        return None
    features = np.column_stack([reward_N, reward_N / np.maximum(tokens_N, 1), np.log1p(tokens_N)])
    labels_N = desirable_N.astype(int)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(features, labels_N, groups_N)
    splits = list(folds)
    if any(len(np.unique(labels_N[fitted])) < 2 for fitted, _ in splits):
        return None
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    probabilities = cross_val_predict(model, features, labels_N, cv=splits, method="predict_proba")
    quality_N = get_label_quality_scores(labels_N, probabilities, method="self_confidence")
    return np.clip(1 - np.asarray(quality_N, dtype=np.float64), 0.0, 1.0)
