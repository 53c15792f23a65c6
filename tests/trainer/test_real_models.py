"""Small pretrained models and real feedback, if they are next to the checkout."""

import gzip
import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.trainer import tiny
from worker.evaluation.score import score
from worker.training.models import policy
from worker.training.train import train

#: Largest number of characters of a prompt that fits into the 256 tokens of these models.
LONGEST = 300
DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real models and feedback are not beside this checkout")


def real_rows(count: int) -> list[dict[str, Any]]:
    file = sorted((DATA / "trl").glob("hh_harmless.unpaired.train*"))[0]
    with gzip.open(file, "rt") as lines:
        rows = (json.loads(line) for line in lines)
        short = (row for row in rows if sum(len(message["content"]) for message in row["prompt"]) < LONGEST)
        return list(islice(short, count))


def test_a_list_of_end_tokens_is_understood_as_the_tokenizers_own_first() -> None:
    tokens = policy.load_tokens(DATA / "models" / "babyllama361")

    assert tokens.ends == (2, 1)
    [(prompt, completion, _)] = tokens.encode_text(["Once"], [" upon a time"])
    assert completion[-1] == 2
    assert tokens.tokenizer.decode([*prompt, *completion], skip_special_tokens=True).strip() == "Once upon a time"


@pytest.mark.parametrize("name", ["stories260K", "babyllama361"])
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.trial
def test_real_feedback_trains_and_scores_a_real_model(tmp_path: Path, name: str, method: str) -> None:
    rows = [{key: row[key] for key in ("prompt", "completion", "label")} for row in real_rows(14)]
    workdir = tiny.stage(
        tmp_path / "w",
        DATA / "models" / name,
        rows[:8],
        rows[8:],
        method=method,
        learning_rate=1e-3,
        max_length=256,
        epochs=1,
        evaluation={"kl_prompts": 4, "kl_max_new_tokens": 8, "bootstrap": 100},
    )

    train(workdir)
    score(workdir)

    first = tiny.lines(workdir / "metrics.jsonl")[0]
    assert first["reward_desirable"] == first["z0"] == 0
    assert tiny.document(workdir / "scores.json")["rows"] > 0
