"""bfloat16 arithmetic over float32 weights: which parts stay in float32, and the errors of the rest.

bfloat16 keeps 8 bits, so one rounding is up to 2⁻⁹ = 0.2 % of a number. The bounds are 1 % for loss, z0 and rewards,
which are sums of many such roundings that mostly cancel, and 5 % for a gradient tensor, which has more of them.
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.parity import families
from tests.parity.compare import worst
from tests.parity.curves import SETTINGS, rows
from tests.trainer import tiny
from worker.training.forward.logprobs import Reading
from worker.training.train import train


@pytest.mark.parametrize("family", [name for name in families.FAMILIES if name != "mixtral"])
def test_a_batch_in_bfloat16_is_near_the_formula_in_float64(family: str) -> None:
    compared = families.beside_the_formula(family, torch.bfloat16)

    gradient = compared.pop("gradient")
    assert worst(compared) <= 0.01
    assert gradient.relative <= 0.05
    assert worst(compared) > 1e-6, "no difference at all: this was not bfloat16"


def test_experts_in_bfloat16_are_near_too_though_a_token_at_the_border_may_change_its_expert() -> None:
    """Bounds the loss alone: a token that changes its expert changes the gradient of the router without limit."""
    compared = families.beside_the_formula("mixtral", torch.bfloat16)

    del compared["gradient"]
    assert worst(compared) <= 0.01


def test_the_softmax_over_the_vocabulary_is_float32_over_bfloat16_logits() -> None:
    model, logits = tiny.model(), []
    model.get_output_embeddings().register_forward_hook(lambda _module, _given, output: logits.append(output))
    ids = tiny.tokenizer()(["late box"], return_tensors="np")["input_ids"][0].astype("int32")

    read, _ = Reading.plain(model, torch.bfloat16).read([(ids[:3], ids[3:])])

    assert logits[0].dtype is torch.bfloat16
    assert read.lp_N.dtype is torch.float32
    said = torch.from_numpy(ids[3:]).long()
    exact = torch.log_softmax(logits[0][0].double(), dim=-1)[torch.arange(len(said)), said]
    torch.testing.assert_close(read.lp_N.double(), exact, rtol=1e-6, atol=0)


def trained(folder: Path, precision: str, **recipe: Any) -> list[dict[str, Any]]:
    base = tiny.save_model(folder / f"base-{precision}", dtype=torch.bfloat16)
    workdir = tiny.stage(
        folder / precision, base, rows(), precision=precision, **{**SETTINGS, "epochs": 3, "batch_size": 8, **recipe}
    )
    train(workdir)
    return tiny.lines(workdir / "metrics.jsonl")


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.trial
def test_a_run_in_bfloat16_follows_the_run_in_float32(tmp_path: Path, method: str) -> None:
    settings = {"method": method, "learning_rate": 1e-3 if method == "full" else 5e-3}
    low = trained(tmp_path, "bfloat16", **settings)
    high = trained(tmp_path, "float32", **settings)

    assert [one["loss"] for one in low] == pytest.approx([one["loss"] for one in high], rel=0.01)
    assert high[-1]["margin"] > 0.2, "something is learnt"
