"""probe.json and merged models, against transformers and peft called directly."""

import warnings
from pathlib import Path

import pytest
import torch
import transformers
from peft import PeftModel
from thumbwheel.wire.recipe import recipe_of

from app.checkpoints.probe_file import FILE, PROMPTS, Probe
from tests.trainer import tiny
from worker.evaluation.probe import ProbeReader
from worker.training.models import adapters, policy
from worker.training.models.merged import save_merged


@pytest.fixture
def adapter(tmp_path: Path, base: Path) -> Path:
    return tiny.save_adapter(tmp_path / "adapter", base)


def with_peft(bare: torch.nn.Module, adapter: Path) -> torch.nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return PeftModel.from_pretrained(bare, str(adapter)).eval()


def direct(model: torch.nn.Module, ids: list[int]) -> tuple[torch.Tensor, str]:
    """The log-probs of the tokens, and what `generate` writes next."""
    with torch.no_grad():
        table = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        written = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=8)[0, len(ids) :]
    text = tiny.tokenizer().decode(written, skip_special_tokens=True)
    return table[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0], text


def test_a_probe_holds_what_candidate_and_base_make_of_each_prompt(tmp_path: Path, base: Path, adapter: Path) -> None:
    arithmetic = policy.Arithmetic.of(recipe_of("lora-small"))
    candidate = adapters.load_adapter(policy.load_weights(base, torch.float32, arithmetic.device), adapter)
    reader = ProbeReader(policy.load_tokens(base), 128, arithmetic, lambda: None)

    reader.read("candidate", candidate)
    with candidate.disable_adapter():
        reader.read("base", candidate)
    reader.write(tmp_path)

    probe = Probe.model_validate_json((tmp_path / FILE).read_bytes())
    bare = transformers.AutoModelForCausalLM.from_pretrained(base).eval()
    assert (probe.precision, [each.text for each in probe.prompts]) == ("float32", list(PROMPTS))
    plain = [direct(bare, each.tokens) for each in probe.prompts]
    with_adapter = with_peft(bare, adapter)
    adapted = [direct(with_adapter, each.tokens) for each in probe.prompts]
    for each, ours, others in zip(probe.prompts, adapted, plain, strict=True):
        torch.testing.assert_close(torch.tensor(each.candidate.log_probs), ours[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(torch.tensor(each.base.log_probs), others[0], rtol=0, atol=1e-5)
        assert (each.candidate.greedy, each.base.greedy) == (ours[1], others[1])


def test_prompts_that_do_not_fit_are_left_out_and_a_model_of_nan_leaves_no_probe(tmp_path: Path, base: Path) -> None:
    arithmetic = policy.Arithmetic.of(recipe_of("lora-small"))
    model = policy.load_weights(base, torch.float32, arithmetic.device)
    tokens = policy.load_tokens(base)
    short = ProbeReader(tokens, 36, arithmetic, lambda: None)
    for name in ("candidate", "base"):
        short.read(name, model)
    short.write(tmp_path)
    assert [each.text for each in Probe.model_validate_json((tmp_path / FILE).read_bytes()).prompts] == [
        "1, 2, 3, 4, 5, 6,"
    ]

    broken = tmp_path / "broken"
    broken.mkdir()
    with torch.no_grad():
        next(iter(model.parameters())).fill_(torch.nan)
    reader = ProbeReader(tokens, 128, arithmetic, lambda: None)
    for name in ("candidate", "base"):
        reader.read(name, model)
    reader.write(broken)
    assert list(broken.iterdir()) == []


def test_a_merged_model_gives_the_logits_of_base_and_adapter(tmp_path: Path, base: Path, adapter: Path) -> None:
    save_merged(base, adapter, tmp_path / "merged")

    merged = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    bare = transformers.AutoModelForCausalLM.from_pretrained(base).eval()
    ids = torch.tensor([[40, 41, 42, 43]])
    with torch.no_grad():
        expected = with_peft(bare, adapter)(ids).logits
        torch.testing.assert_close(merged(ids).logits, expected, rtol=1e-4, atol=1e-5)
    assert (tmp_path / "merged" / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
