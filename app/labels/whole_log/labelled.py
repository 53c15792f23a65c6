"""The labels of a whole log, as frames. Pure."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray


@dataclass(frozen=True)
class Labelled:
    """The labels, votes and comparisons that a policy derives from a log.

    completions  completion_id str · label bool or null · weight Int32 (thousandths) · reason name (the first) · reasons
                 list of names · checkpoint_id · position · known · carrier · never_train
    votes        the counted vote of each actor on each completion: completion, actor UInt32 (rows) · moment Datetime ·
                 position Int64 · desirable bool · weight Int32 (thousandths) · reason str
    rewrites     completion UInt32 · key bytes (see `text_key`) · position Int64 · moment Int64 (µs since 1970, of the
                 latest) · weight Int32 (thousandths) · actors list of UInt32
    comparisons  the compared completions: see `app.labels.whole_log.comparisons.COMPARISONS`
    judgements   the votes that the guards examine, if requested: see `judgements`
    compared     number of the completion of each event in `Log.compared`
    said         every standing signal, if requested: kind str · detail str or null · completion UInt32 ·
                 says str or null
    """

    completions: pl.DataFrame
    votes: pl.DataFrame
    rewrites: pl.DataFrame
    comparisons: pl.DataFrame
    judgements: pl.DataFrame
    compared: NDArray[np.uint32]
    said: pl.DataFrame
    actors: pl.Series

    def completion_of(self, judged: pl.Series) -> pl.Series:
        """Returns the completion for each number in the column `judged` of `judgements`."""
        several = np.concatenate([np.arange(len(self.completions)), self.compared])
        return pl.Series(several[judged.to_numpy()], dtype=pl.UInt32)
