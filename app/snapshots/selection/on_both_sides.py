"""Finds the candidates to leave out, since their conversation and their prompt group are on different sides. Pure.

That happens to prompts that many conversations share, such as "hi": see `app.snapshots.prompts.conversations`.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from app.snapshots.prompts.conversations import row_of_answer, row_of_completion
from app.snapshots.selection.candidates import Candidates
from app.snapshots.selection.text_keys import numbered
from app.spill.texts import SpilledTexts


def rows_on_both_sides(
    candidates: Candidates, texts: SpilledTexts, astray: Mapping[bytes, set[bytes]]
) -> NDArray[np.int64]:
    """Returns the candidates whose rows `astray` lists under the keys of their prompts."""
    if not astray:
        return np.empty(0, dtype=np.int64)
    wanted = np.frombuffer(b"".join(astray), dtype=np.uint64).reshape(-1, 2)
    keys = candidates.prompts.key
    number = numbered(np.concatenate([wanted, keys]))
    shared = np.isin(number[len(wanted) :], number[: len(wanted)])
    rows = np.flatnonzero(shared[candidates.prompt])
    own = [key.tobytes() for key in keys[candidates.prompt[rows]]]
    ids = candidates.ids.take(candidates.completion[rows]).to_pylist()
    answers = candidates.completions(texts, rows)
    left_out = [
        row
        for row, prompt, completion_id, answer in zip(rows.tolist(), own, ids, answers, strict=True)
        if not astray[prompt].isdisjoint((row_of_completion(completion_id), row_of_answer(prompt, answer)))
    ]
    return np.array(left_out, dtype=np.int64)
