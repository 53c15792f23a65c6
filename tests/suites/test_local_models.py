"""Suites against a model in a folder, and a judge behind a real server: tiny models that always give one answer."""

import json
import os
import warnings
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine, in_own_process

pytestmark = [pytest.mark.trial, pytest.mark.xdist_group("transformers serve")]

ANSWER = '{"reason": "so it is", "better": "first", "category": "C", "pass": true, "score": 0.5}'
#: The id of the end token.
END = 256
CHAT_SUITE = {
    "name": "local",
    "prompts": ["Say {{word}}", {"label": "chat", "prompt": [{"role": "user", "content": "Please say {{word}}"}]}],
    "tests": [{"vars": {"word": "hello"}, "assert": [{"type": "equals", "value": ANSWER}]}],
}


def parrot(folder: Path, answer: str = ANSWER, *, chat: bool = True) -> Path:
    """Saves a model that writes `answer`, as one token, after any prompt.

    Its layers add nothing, so each token alone decides which one follows: the end of the turn of the assistant, or the
    last letter of a prompt without a template, is followed by the answer, and the answer by the end token.
    """
    import torch

    from tests.trainer.tiny import model, tokenizer

    tokens = tokenizer(chat=chat)
    tokens.add_tokens([answer])
    size = len(tokens)
    tiny = model(vocab_size=size, hidden_size=-(-size // 8) * 8, max_position_embeddings=8192)
    said = tokens.convert_tokens_to_ids(answer)
    with torch.no_grad():
        for name, weight in tiny.named_parameters():
            if "o_proj" in name or "down_proj" in name or "embed" in name or "lm_head" in name:
                weight.zero_()
        for token in range(size):
            tiny.get_input_embeddings().weight[token, token] = 1
            tiny.lm_head.weight[END if token == said else said, token] = 1
    tiny.save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return parrot(tmp_path_factory.mktemp("parrot"))


@pytest.fixture
def cli() -> CommandLine:
    return CommandLine(in_own_process, {**os.environ, "COLUMNS": "200"})


@pytest.fixture
def suite(tmp_path):
    def write(document):
        path = tmp_path / "suite.json"
        path.write_text(json.dumps(document))
        return path

    return write


def test_a_suite_runs_against_a_model_in_a_folder(cli, suite, folder):
    done = cli("suites", "run", suite(CHAT_SUITE), "--folder", folder)

    assert done.code == 0, done
    assert (done.document["folder"], done.document["adapter"]) == (str(folder), None)
    assert [outcome["output"] for outcome in done.document["suites"][0]["outcomes"]] == [ANSWER] * 2
    assert done.document["passed"] == 2


def test_what_a_model_cannot_read_is_undecided_and_an_output_at_the_limit_of_tokens_is_cut_off(cli, suite, tmp_path):
    plain = parrot(tmp_path / "plain", chat=False)
    document = {**CHAT_SUITE, "prompts": [*CHAT_SUITE["prompts"], "x" * 9_000]}

    done = cli("suites", "run", suite(document), "--folder", plain, "--max-tokens", "1")

    outcomes = done.document["suites"][0]["outcomes"]
    assert done.code == 3
    assert [outcome["output"] for outcome in outcomes] == [ANSWER, None, None]
    assert outcomes[0]["cut_off"]
    assert "the model has no chat template" in outcomes[1]["reason"]
    assert "9,000 tokens, and the model reads 8,192 at most" in outcomes[2]["reason"]


def test_an_adapter_changes_what_the_model_writes(cli, suite, tmp_path, folder):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        adapted = get_peft_model(base, LoraConfig(r=1, lora_alpha=1, target_modules=["lm_head"]))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_A" in name:
                weight.fill_(1)
            elif "lora_B" in name:
                weight.zero_()
                weight[END, 0] = 100
    adapted.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)

    done = cli("suites", "run", suite(CHAT_SUITE), "--folder", folder, "--adapter", tmp_path / "adapter")

    assert done.code == 1, done
    assert [outcome["output"] for outcome in done.document["suites"][0]["outcomes"]] == ["", ""]


def test_a_folder_that_holds_no_model_is_one_line_and_exit_code_2(cli, suite, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    path = suite(CHAT_SUITE)

    assert "--folder: " in cli.refused("suites", "run", path, "--folder", tmp_path / "empty")
    assert "holds an adapter" in cli.refused("suites", "run", path, "--folder", tmp_path / "adapter")
    assert "is not a folder" in cli.refused("suites", "run", path, "--folder", tmp_path / "none")


def test_a_real_server_judges_rubrics_facts_and_pairs(cli, suite, transformers_serve, folder):
    from app.suites.judge.judge import Judge

    document = {
        "name": "judged",
        "prompts": ["Say hello"],
        "tests": [
            {"assert": [{"type": "llm-rubric", "value": "greets"}]},
            {"assert": [{"type": "llm-rubric", "value": "greets", "threshold": 0.9}]},
            {"assert": [{"type": "factuality", "value": "hello"}]},
        ],
    }
    done = cli(
        "suites", "run", suite(document), "--endpoint", transformers_serve, "--model", str(folder),
        "--judge", transformers_serve, "--judge-model", str(folder),
    )  # fmt: skip
    judge = Judge(transformers_serve, str(folder))
    pair = judge.compare("Say hello", "Hello!", "No.")
    judge.close()

    assert [outcome["verdict"] for outcome in done.document["suites"][0]["outcomes"]] == ["passed", "failed", "passed"]
    assert done.document["judge"]["requests"] == 3
    # This judge prefers whatever stands first.
    assert (pair.share, pair.consistent) == (0.5, False)
    assert judge.usage()["tokens"] > 0
