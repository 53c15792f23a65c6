"""The files that a scorer leaves about the reference with a few examples before each prompt.

They have neither texts nor ids:

    few_shot_scores.parquet    log p(y | examples, x) − log p(y | x) of each held-out row, as `held_out_scores` has it
    few_shot_replies.parquet   the length of each reply to a held-out prompt, and its log-probs
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

#: The name of the reference with examples, among the models of an evaluation and the arms of a comparison.
FEW_SHOTS = "few_shots"
SCORES, REPLIES = "few_shot_scores.parquet", "few_shot_replies.parquet"
#: In WORKDIR alone: what it writes for the run's suites, with texts.
OUTPUTS = "few_shots.parquet"
SCHEMA = pa.schema(
    [
        pa.field("prompt", pa.int64(), nullable=False),  # its place among the held-out prompts of samples.parquet
        pa.field("prompts", pa.int64(), nullable=False),  # the number of those prompts
        pa.field("tokens", pa.int64(), nullable=False),
        # Nats, summed over the reply; null unless it was drawn at temperature 1.
        pa.field("lp_few_shots", pa.float64()),
        pa.field("lp_shipped", pa.float64()),
    ]
)


class FewShotReply(NamedTuple):
    """A drawn reply of the reference with examples to a held-out prompt."""

    prompt: int
    prompts: int
    tokens: int
    lp_few_shots: float | None
    lp_shipped: float | None


def write(path: Path, replies: Sequence[FewShotReply]) -> None:
    rows = [reply._asdict() for reply in replies]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path, compression="zstd", store_schema=False)


def read(path: Path) -> list[FewShotReply]:
    return [FewShotReply(**row) for row in pq.read_table(path, schema=SCHEMA).to_pylist()]
