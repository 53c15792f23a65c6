"""The routers' loss of a mixture of experts is that of the whole micro-batch for every division of its rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from tests.trainer import tiny
from tests.trainer.test_packing import gradient, rows
from tests.trainer.test_ranks import alone, run
from worker.training.data.packing import Pair
from worker.training.forward.logprobs import Forward, Reading
from worker.training.forward.router_balance import Choices, RouterSums, Routing, coefficient_of
from worker.training.machine.process import TrainingRefusal


def furthest_apart(one: Path, other: Path) -> float:
    left, right = (load_file(workdir / "output" / "model.safetensors") for workdir in (one, other))
    assert left.keys() == right.keys()
    return max(float((left[name] - right[name]).abs().max()) for name in left)


def sums_of(read: Forward) -> RouterSums:
    assert read.router is not None
    return read.router


def unequal_rows() -> list[dict[str, Any]]:
    """Returns 22 rows, so that some ranks get no row of the last micro-batch of 4. Every fifth row is longer."""
    return [
        {**row, "completion": row["completion"] * (3 if number % 5 == 0 else 1)}
        for number, row in enumerate(tiny.text_rows())
    ]


@pytest.fixture(scope="module")
def mixtures(tmp_path_factory: pytest.TempPathFactory) -> dict[float, Path]:
    """Folders of base models by the weight of the routers' loss: a usual one, and one above all other terms."""
    folder = tmp_path_factory.mktemp("mixtures")
    return {
        weight: tiny.save_model(folder / str(weight), "mixtral", router_aux_loss_coef=weight) for weight in (0.02, 5.0)
    }


@pytest.mark.parametrize(("weight", "worlds"), [(0.02, [2]), (5.0, [2, 4])])
@pytest.mark.trial
def test_ranks_learn_what_one_process_learns_of_experts(
    tmp_path: Path, mixtures: dict[float, Path], weight: float, worlds: list[int]
) -> None:
    # given a rate at which Adam does not enlarge rounding further: a rarely used expert has gradients near 0
    recipe = {"learning_rate": 1e-4}
    one = alone(tmp_path, mixtures[weight], unequal_rows(), **recipe)

    for world in worlds:
        several = tiny.stage(tmp_path / f"of-{world}", mixtures[weight], unequal_rows(), **recipe)
        assert run(several, world) == [0] * world, (several / "stderr").read_text()

        assert furthest_apart(one, several) <= 1e-6


def test_padding_counts_for_no_expert() -> None:
    model = tiny.model("mixtral")
    own, others = rows()
    ways = [Reading(model, packed=True, chunked=True), Reading(model, packed=False, chunked=True), Reading.plain(model)]
    found = []
    for reading in ways:
        model.zero_grad()
        read, _ = reading.read(own, others, router_loss=True)
        assert read.router_loss is not None
        read.router_loss.backward()
        found.append((*sums_of(read).choices, read.router_loss.detach(), gradient(model)))

    assert found[0][1] == 2 * sum(len(prompt) + len(completion) for prompt, completion in own)  # of two layers
    for other in found[1:]:
        assert torch.equal(other[0], found[0][0])
        for mine, packed in zip(other[1:], found[0][1:], strict=True):
            torch.testing.assert_close(mine, packed, rtol=1e-5, atol=1e-6)


def test_the_shares_of_parts_are_the_loss_of_the_whole() -> None:
    model = tiny.model("mixtral")
    own, _ = rows()
    reading = Reading(model, packed=True, chunked=True)

    def learnt(parts: Sequence[Sequence[Pair]]) -> tuple[float, torch.Tensor]:
        """Returns loss and gradient, accumulated over `parts`."""
        model.zero_grad()
        with torch.no_grad():
            known = [sums_of(reading.read(part, router_loss=True)[0]).choices for part in parts]
        choices = Choices(sum(part.chosen_E for part in known), sum(part.tokens for part in known))
        total = 0.0
        for part in parts:
            share = sums_of(reading.read(part, router_loss=True)[0]).share(choices)
            total += share.item()
            if share.requires_grad:
                share.backward()
        return total, gradient(model)

    # when the rows are read at once, and in unequal parts, one of them empty
    whole, gradient_of_whole = learnt([own])
    parts, gradient_of_parts = learnt([own[:1], [], own[1:]])

    assert parts == pytest.approx(whole, rel=1e-6)
    torch.testing.assert_close(gradient_of_parts, gradient_of_whole, rtol=1e-4, atol=1e-6)


MIXTURES = {
    transformers.MixtralConfig: {"num_local_experts": 4},
    transformers.Qwen3MoeConfig: {"num_experts": 4, "moe_intermediate_size": 8, "head_dim": 4},
    transformers.OlmoeConfig: {"num_experts": 4},
    transformers.GptOssConfig: {"num_local_experts": 4, "head_dim": 4},
    transformers.GraniteMoeConfig: {"num_local_experts": 4},
    transformers.JetMoeConfig: {"num_local_experts": 4, "kv_channels": 4},
}


@pytest.mark.parametrize("kind", MIXTURES, ids=lambda kind: kind.model_type)
def test_the_loss_is_that_of_the_models_own_code(kind: type) -> None:
    sizes = {
        "vocab_size": 260, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "num_experts_per_tok": 2, "pad_token_id": None,
    }  # fmt: skip
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(kind(**sizes, **MIXTURES[kind])).eval()
    routing = Routing.of(model)
    assert routing is not None
    mask_BT = torch.ones(3, 9, dtype=torch.int64)
    mask_BT[0, 5:] = mask_BT[2, 7:] = 0

    output = model(torch.randint(250, (3, 9)), attention_mask=mask_BT, output_router_logits=True, use_cache=False)
    sums = routing.sums(output.router_logits, mask_BT.flatten(), torch.device("cpu"))

    assert sums.share(sums.choices).item() == pytest.approx(output.aux_loss.item(), rel=1e-6)


def test_models_without_a_routers_loss_have_none() -> None:
    llama4 = transformers.Llama4TextConfig(
        vocab_size=260, hidden_size=16, intermediate_size=32, intermediate_size_mlp=32, num_hidden_layers=1,
        num_attention_heads=4, num_key_value_heads=2, head_dim=4, num_local_experts=2,
    )  # fmt: skip

    assert coefficient_of(tiny.model("mixtral")) == 0.5
    assert coefficient_of(tiny.model("llama")) == 0
    assert coefficient_of(transformers.AutoModelForCausalLM.from_config(llama4)) == 0


def test_routers_that_mix_tokens_are_refused() -> None:
    doge = transformers.DogeConfig(
        vocab_size=260, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=4,
        is_moe=True, num_experts=16, num_experts_per_tok=2,
    )  # fmt: skip

    with pytest.raises(TrainingRefusal, match="use a Doge model without experts"):
        Routing.of(transformers.AutoModelForCausalLM.from_config(doge))
