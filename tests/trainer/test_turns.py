"""Only the answer is learnt. It continues a prompt that ends in a turn of the assistant."""

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from thumbwheel.row_checks import RowFault

from tests.trainer import tiny
from tests.trainer.test_chat_template import FAMILIES, messages
from worker.training.data.tokens import Encoded, Tokens
from worker.training.models.policy import load_tokens
from worker.training.train import train

ASKED = ("user", "How late is it?")


def encoded(template: str, prompt: list[dict[str, str]], answer: str) -> Encoded | RowFault:
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = template
    [row] = Tokens(tokenizer, None).encode_chat([prompt], [messages(("assistant", answer))])
    return row


def texts(row: Encoded | RowFault) -> tuple[str, str]:
    assert isinstance(row, Encoded), row
    decode = tiny.tokenizer().decode
    return decode(row.prompt), decode(row.completion)


def test_an_answer_continues_the_assistants_turn_that_ends_the_prompt() -> None:
    row = encoded(tiny.CHAT_TEMPLATE, messages(ASKED, ("assistant", "It is")), " noon.")

    assert texts(row) == ("<|user|>How late is it?<|end|>\n<|assistant|>It is", " noon.<|end|>")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_continued_prompt_is_the_one_that_is_served(family: str) -> None:
    prompt = messages(("user", "a"), ("assistant", "b"), ASKED, ("assistant", "It is"))
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = FAMILIES[family]
    served = tokenizer.apply_chat_template(prompt, continue_final_message=True, return_dict=False)

    row = encoded(FAMILIES[family], prompt, " noon")

    assert isinstance(row, Encoded), row
    assert row.prompt.tolist() == served
    assert texts(row)[1].startswith(" noon")


def test_white_space_that_serving_takes_from_the_prompt_is_not_learnt_either() -> None:
    # given a template that trims turns, so that the served text ends before the space
    row = encoded(FAMILIES["trimmed turns"], messages(ASKED, ("assistant", "It is ")), "noon")

    assert texts(row)[0].endswith("<start_of_turn>model\nIt is")
    assert texts(row)[1].startswith("noon<end_of_turn>")


@pytest.mark.parametrize("beginning", ["", "\n", "<think>\n"])
def test_a_turn_that_has_just_begun_is_continued(beginning: str) -> None:
    row = encoded(tiny.CHAT_TEMPLATE, messages(ASKED, ("assistant", beginning)), "noon")

    assert texts(row) == (f"<|user|>How late is it?<|end|>\n<|assistant|>{beginning}", "noon<|end|>")


CANNOT_CONTINUE = {
    "leaves out the last turn": (
        "{% for m in messages %}{% if not (loop.last and m.role == 'assistant' and '!' not in m.content) %}"
        "<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endif %}{% endfor %}"
    ),
    "writes something behind the text": (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content | replace('CONTINUE_FINAL_MESSAGE_TAG', '') }}<|end|>\n"
        "{% endfor %}"
    ),
    "writes something else for a longer turn": (
        "{% for m in messages %}<|{{ m.role }}|>{% if m.content | length > 50 %}[long]{% endif %}{{ m.content }}"
        "<|end|>\n{% endfor %}"
    ),
}


@pytest.mark.parametrize("case", CANNOT_CONTINUE)
def test_a_turn_that_the_template_cannot_continue_drops_the_row_by_name(case: str) -> None:
    row = encoded(CANNOT_CONTINUE[case], messages(ASKED, ("assistant", "It is")), " noon" + "." * 50)

    assert isinstance(row, RowFault)
    assert row.reason == "template_prefill"
    assert "It is" not in row.detail


def continued_rows() -> list[dict[str, Any]]:
    """Returns chat rows of which every second prompt ends in a turn of the assistant."""
    rows = tiny.chat_rows(22)
    for row in rows[::2]:
        row["prompt"] = [*row["prompt"], {"role": "assistant", "content": "Well,"}]
    return rows


@pytest.fixture(scope="module")
def chat_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_model(tmp_path_factory.mktemp("chat") / "base", chat=True)


@pytest.mark.parametrize("packing", ["auto", "off"])
def test_continued_turns_are_learnt_as_the_same_texts_are(tmp_path: Path, chat_base: Path, packing: str) -> None:
    # given the same prompts and answers as texts, written by hand
    chat = continued_rows()
    as_text = [
        {
            **row,
            "prompt": f"<|user|>{row['prompt'][0]['content']}<|end|>\n<|assistant|>"
            + "".join(message["content"] for message in row["prompt"][1:]),
            "completion": row["completion"][0]["content"],
        }
        for row in chat
    ]
    folders = []
    for name, rows in (("chat", chat), ("text", as_text)):
        folders.append(tiny.stage(tmp_path / name, chat_base, rows, packing=packing, max_length=128, max_steps=2))
        train(folders[-1])

    metrics = [[line["loss"] for line in tiny.lines(folder / "metrics.jsonl")] for folder in folders]
    assert metrics[0] == metrics[1]
    ours, theirs = (load_file(folder / "reference.safetensors")["log_probs"] for folder in folders)
    assert sorted(ours.tolist()) == sorted(theirs.tolist())
    assert [tiny.document(folder / "training.json")["rows_dropped"] for folder in folders] == [0, 0]


def test_completions_with_turns_of_others_are_dropped_by_name_and_the_rest_is_learnt_as_without_them(
    tmp_path: Path, chat_base: Path
) -> None:
    rows = continued_rows()
    several = [{"role": role, "content": "Yes."} for role in ("assistant", "user", "assistant")]
    with_them = [*rows, {**rows[0], "completion": several}, {**rows[1], "completion": several[1:]}]
    folders = []
    for name, given in (("with", with_them), ("without", rows)):
        folders.append(tiny.stage(tmp_path / name, chat_base, given, max_length=128, max_steps=2))
        train(folders[-1])

    dropped = tiny.lines(folders[0] / "dropped.jsonl")
    assert [(line["reason"], line["detail"]) for line in dropped] == [
        ("answer_not_assistant", "role assistant, user, assistant"),
        ("answer_not_assistant", "role user, assistant"),
    ]
    with_digest, without_digest = (tiny.document(folder / "training.json")["weights_sha256"] for folder in folders)
    assert with_digest == without_digest


def test_one_loss_counts_the_tokens_of_the_answer_alone(chat_base: Path) -> None:
    tokens = load_tokens(chat_base)
    prompt = messages(ASKED, ("assistant", "a"), ("user", "b"), ("assistant", "It is"))

    [row] = tokens.encode_chat([prompt], [messages(("assistant", " noon"))])

    assert isinstance(row, Encoded)
    assert len(row.completion) == len(" noon") + 1  # a token for each byte, and the end
