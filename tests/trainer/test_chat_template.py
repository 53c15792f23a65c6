"""Checks that a chat template keeps every message, by following each through the template, even a short one."""

from pathlib import Path
from typing import Any

import pytest
from thumbwheel.row_checks import RowFault

from tests.trainer import tiny
from worker.training.data.chat_template import Conversation, Template
from worker.training.data.tokens import Encoded, Tokens
from worker.training.train import train

#: Shortened templates of several families of models.
FAMILIES = {
    "chatml": (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "a default system message": (
        "{% if messages[0].role != 'system' %}<|system|>You are a helpful assistant<|end|>\n{% endif %}"
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    ),
    "the system message within the first turn": (
        "{% if messages[0].role == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0].content %}"
        "{% else %}{% set rest = messages %}{% set system = none %}{% endif %}"
        "{% for m in rest %}{% set content = m.content %}{% if loop.first and system is not none %}"
        "{% set content = '<<SYS>>\n' + system + '\n<</SYS>>\n\n' + content %}{% endif %}"
        "{% if m.role == 'user' %}<s>[INST] {{ content }} [/INST]{% else %} {{ content }} </s>{% endif %}{% endfor %}"
    ),
    "trimmed turns": (
        "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
        "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
    ),
    "reasoning taken apart": (
        "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' and '</think>' in m.content %}"
        "<think>\n{{ m.content.split('</think>')[0].split('<think>')[-1].strip('\n') }}\n</think>\n\n"
        "{{ m.content.split('</think>')[-1].lstrip('\n') }}{% else %}{{ m.content }}{% endif %}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    ),
    "branches on what a text holds": (
        "{% for m in messages %}<|{{ m.role }}|>{% if 'json' in m.content %}[JSON] {% endif %}"
        "{% if m.content.startswith('<tool_response>') %}[tool] {% endif %}"
        "{% if m.content | length > 40 %}[long] {% endif %}{{ m.content }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    ),
    "says a message twice": (
        "Title: {{ messages[0].content }}\n{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    ),
}


def template(source: str) -> Template:
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = source
    return Template(tokenizer)


def messages(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


def conversation(source: str, prompt: list[dict[str, str]], answer: str = "yo") -> Conversation | RowFault:
    return template(source).conversation(prompt, messages(("assistant", answer)))


def reason(outcome: Any) -> str | None:
    return outcome.reason if isinstance(outcome, RowFault) else None


PROMPTS = {
    "short": messages(("user", "a")),
    "a word of the template": messages(("system", "user"), ("user", "assistant")),
    "equal messages": messages(("user", "hi"), ("assistant", "hi"), ("user", "hi")),
    "an empty system message": messages(("system", ""), ("user", "hi")),
    "a blank system message": messages(("system", " \n"), ("user", "hi")),
    "a result of a tool": messages(("user", "<tool_response>\njson: 12 degrees, and cloudy\n</tool_response>")),
    "private use characters": messages(("user", "\U000f0000\U000f0001 \ue000")),
}


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_template_that_keeps_every_message_is_accepted(family: str, prompt: str) -> None:
    outcome = conversation(FAMILIES[family], PROMPTS[prompt], "user")

    assert isinstance(outcome, Conversation), outcome
    assert outcome.whole[outcome.start :].startswith("user")
    assert outcome.whole[len(outcome.opened) : outcome.start].strip() == ""


def test_an_answer_with_reasoning_that_a_template_writes_again_unchanged_is_accepted() -> None:
    answer = "<think>\nplan\n</think>\n\nYes."

    outcome = conversation(FAMILIES["reasoning taken apart"], PROMPTS["short"], answer)

    assert isinstance(outcome, Conversation)
    assert outcome.whole == f"<|user|>a<|end|>\n<|assistant|>{answer}<|end|>\n"


IGNORES_SYSTEM = (
    "You are a helpful assistant.\n{% for m in messages %}{% if m.role != 'system' %}<|{{ m.role }}|>{{ m.content }}"
    "<|end|>\n{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.mark.parametrize("system", ["a", "You", "hi", "assistant", "Be kind.", "You are a helpful assistant."])
def test_a_system_message_that_is_ignored_is_a_fault_also_where_its_text_stands_elsewhere(system: str) -> None:
    outcome = conversation(IGNORES_SYSTEM, messages(("system", system), ("user", "hi")))

    assert outcome == RowFault("template_changes_prompt", "the message of system")


CHANGES_ANSWER = {
    "drops it": "",
    "cuts reasoning": "{{ m.content.split('</think>')[-1] }}",
    "trims it": "{{ m.content | trim }}",
    "capitals": "{{ m.content | upper }}",
    "says another": "{{ 'Yes.' if m.content == 'ok' else m.content[:3] }}",
}


@pytest.mark.parametrize("how", CHANGES_ANSWER)
def test_an_answer_that_is_changed_is_a_fault_also_where_its_text_stands_in_the_template(how: str) -> None:
    source = (
        "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}" + CHANGES_ANSWER[how]
        + "[ ok <think>a</think>ok]{% else %}{{ m.content }}{% endif %}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )  # fmt: skip
    answer = {"cuts reasoning": "<think>a</think>ok", "trims it": " ok"}.get(how, "ok")

    assert reason(conversation(source, PROMPTS["short"], answer)) == "template_changes_answer"


def test_the_answer_is_found_behind_what_the_template_fills_in_with_the_same_text() -> None:
    source = (
        "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}<think>ok</think>{% endif %}"
        "{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )

    outcome = conversation(source, PROMPTS["short"], "ok")

    assert isinstance(outcome, Conversation)
    assert outcome.whole == "<|user|>a<|end|>\n<|assistant|>ok<|end|>\n"
    assert outcome.start == len(outcome.opened)


REFUSES_ODD_TEXT = (
    "{% for m in messages %}{% if 'é' in m.content %}{{ raise_exception('only ASCII') }}{% endif %}"
    "<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def test_a_template_that_raises_on_odd_text_drops_the_rows_with_such_text_alone() -> None:
    assert reason(conversation(REFUSES_ODD_TEXT, messages(("user", "Café?")))) == "template_error"
    assert isinstance(conversation(REFUSES_ODD_TEXT, messages(("user", "Cafe?"))), Conversation)


SPACED = messages(("system", "Be kind.\n"), ("user", "  hi\n"))


def test_a_prompt_that_loses_outer_white_space_alone_is_kept_as_it_is_served_and_its_answer_is_not() -> None:
    tokens = Tokens(tiny.tokenizer(), None)
    tokens.tokenizer.chat_template = FAMILIES["trimmed turns"]
    tokens = Tokens(tokens.tokenizer, None)

    kept, dropped = tokens.encode_chat([SPACED, SPACED], [messages(("assistant", text)) for text in ("yo", "yo\n")])

    assert isinstance(kept, Encoded)
    served = tokens.tokenizer.apply_chat_template(SPACED, add_generation_prompt=True, return_dict=False)
    assert kept.prompt.tolist() == served
    assert dropped == RowFault("template_changes_answer")


@pytest.mark.parametrize(
    ("family", "prompt", "expected"),
    [
        ("trimmed turns", SPACED, True),
        ("trimmed turns", messages(("user", "hi\n")), True),
        ("trimmed turns", messages(("user", "\nhi")), True),
        ("trimmed turns", messages(("user", "h i")), False),
        ("chatml", SPACED, False),
    ],
)
def test_white_space_that_a_template_takes_is_noticed(
    family: str, prompt: list[dict[str, str]], expected: bool
) -> None:
    known = template(FAMILIES[family])

    assert [known.trims(prompt), known.trims(prompt)] == [expected] * 2


def test_a_data_set_of_prompts_that_end_in_a_newline_is_trained_with_a_counted_note(tmp_path: Path, base: Path) -> None:
    # given a model whose template trims, and rows whose prompts all end in a newline
    model = tiny.save_model(tmp_path / "model", chat=True)
    (model / "chat_template.jinja").write_text(tiny.CHAT_TEMPLATE.replace("m['content']", "m['content'] | trim"))
    rows, held = tiny.chat_rows(), tiny.chat_rows(4)
    for row in (*rows, *held):
        row["prompt"][0]["content"] += "\n"
        row["completion"][0]["content"] = row["completion"][0]["content"].strip()
    held[0]["prompt"][0]["content"] = "hi"

    workdir = tiny.stage(tmp_path / "w", model, rows, held, epochs=1, max_steps=1)
    train(workdir)

    # then all are trained, and the summary and the warnings say how many prompts lost white space
    summary = tiny.document(workdir / "training.json")
    assert (summary["rows_trained"], summary["rows_dropped"]) == (12, 0)
    assert summary["dropped"]["prompts_trimmed"] == {"train": 12, "holdout": 3}
    [warning] = [line for line in tiny.lines(workdir / "warnings.jsonl") if line["code"] == "prompts_trimmed"]
    assert warning["message"].startswith("15 prompts are trained without the white space")
