"""The labels of a whole log, as frames. Pure."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray


@dataclass(frozen=True)
class Labelled:
    """What a policy makes of a log.

    completions  completion_id str · label bool or null · weight Int32 (thousandths) · reason name (the first) · reasons
                 list of names · checkpoint_id · position · known · carrier · never_train
    votes        what counts of each actor about each completion: completion, actor UInt32 (rows) · moment Datetime ·
                 position Int64 · desirable bool · weight Int32 (thousandths) · reason str
    rewrites     completion UInt32 · key bytes (see `text_key`) · position Int64 · moment Int64 (µs since 1970, of the
                 latest) · weight Int32 (thousandths) · actors list of UInt32
    comparisons  what was compared: see `app.labels.whole_log.comparisons.COMPARISONS`
    judgements   what the guards look at, where it was asked for: see `judgements`
    compared     number of the completion of each event in `Log.compared`
    said         every standing signal, where it was asked for: kind str · detail str or null · completion UInt32 ·
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
        """Returns the completion of each number that `judgements` has in its column `judged`."""
        several = np.concatenate([np.arange(len(self.completions)), self.compared])
        return pl.Series(several[judged.to_numpy()], dtype=pl.UInt32)
