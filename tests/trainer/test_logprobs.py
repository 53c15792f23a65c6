"""Completion log-probs equal a plain forward of each row alone, for every family."""

import numpy as np
import pytest
import torch

from tests.trainer import tiny
from worker.training.data.tokens import Ids
from worker.training.forward.logprobs import Reading

FAMILIES = ["llama", "qwen2", "qwen3", "gemma2", "gpt2", "gpt_neox"]
CPU = torch.device("cpu")


def pairs() -> list[tuple[Ids, Ids]]:
    generator = np.random.default_rng(0)
    return [
        (generator.integers(0, 256, size=p).astype(np.int32), generator.integers(0, 256, size=c).astype(np.int32))
        for p, c in [(9, 4), (1, 7), (30, 2), (5, 12)]
    ]


def alone(model: torch.nn.Module, prompt: Ids, completion: Ids) -> torch.Tensor:
    """Returns log-probs by definition, in float64: the whole row, all logits, one log-prob per completion token."""
    ids = torch.from_numpy(np.concatenate([prompt, completion])).long()[None]
    log_probs = torch.log_softmax(model(input_ids=ids).logits[0].double(), dim=-1)
    return torch.stack([log_probs[position - 1, ids[0, position]] for position in range(len(prompt), ids.shape[1])])


@pytest.mark.parametrize("family", FAMILIES)
def test_padded_rows_with_the_head_at_completions_equal_each_row_alone(family: str) -> None:
    model = tiny.model(family).eval()
    seen: list[tuple[int, ...]] = []
    model.get_output_embeddings().register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0].shape))

    with torch.no_grad():
        ours = Reading.plain(model).read(pairs())[0].lp_N
        expected = [alone(model, prompt, completion) for prompt, completion in pairs()]

    torch.testing.assert_close(ours.double(), torch.cat(expected), rtol=1e-5, atol=1e-5)
    assert seen[0][:2] == (1, 4 + 7 + 2 + 12), "the head is to compute completion positions only"


def test_a_row_sums_its_completion_tokens_and_never_its_prompt_or_padding() -> None:
    model = tiny.model()

    with torch.no_grad():
        ours = Reading.plain(model).read(pairs())[0].lp_B
        expected = torch.stack([alone(model, prompt, completion).sum() for prompt, completion in pairs()])

    assert ours.dtype is torch.float32
    torch.testing.assert_close(ours.double(), expected, rtol=1e-5, atol=1e-5)


def test_a_model_whose_head_is_not_called_as_a_module_is_read_off_its_full_logits() -> None:
    model = tiny.model()
    sequences = pairs()
    with torch.no_grad():
        expected = Reading.plain(model).read(sequences)[0].lp_N

    # given a model that multiplies by the head's weight itself
    class Inline(torch.nn.Module):
        def get_output_embeddings(self) -> torch.nn.Module:
            return model.lm_head

        def forward(self, **inputs: torch.Tensor) -> torch.nn.Module:
            out = model.model(**inputs)
            out.logits = out.last_hidden_state @ model.lm_head.weight.T
            return out

    with torch.no_grad():
        ours = Reading.plain(Inline()).read(sequences)[0].lp_N

    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


def test_a_pad_token_that_is_the_end_token_masks_nothing() -> None:
    # given completions that end with, and contain, the token that pads
    model = tiny.model(pad_token_id=0)
    rows = [
        (np.array([5, 6], np.int32), np.array([0, 7, 0], np.int32)),
        (np.array([8], np.int32), np.array([0], np.int32)),
    ]

    with torch.no_grad():
        ours = Reading.plain(model).read(rows)[0].lp_B
        expected = torch.stack([alone(model, prompt, completion).sum() for prompt, completion in rows])

    torch.testing.assert_close(ours.double(), expected, rtol=1e-5, atol=1e-5)


def test_dropout_in_the_config_changes_nothing() -> None:
    model = tiny.model("gpt2")
    sequences = pairs()

    first, second = Reading.plain(model).read(sequences)[0].lp_B, Reading.plain(model).read(sequences)[0].lp_B

    assert first.requires_grad
    assert torch.equal(first, second)
