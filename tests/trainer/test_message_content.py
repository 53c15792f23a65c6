"""Tool calls, results, tools and reasoning are trained as the chat template writes them, or dropped by name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from thumbwheel.chat_messages import normal_message, normal_prompt
from thumbwheel.row_checks import RowFault

from app.snapshots.files.message_columns import MESSAGES, TOOLS, WHOLE_MESSAGES, tools_text
from tests.trainer import asking, tiny
from worker.training.data.rows import read_rows
from worker.training.data.tokens import Encoded, Tokens
from worker.training.job import Shard
from worker.training.standalone.dataset import read_dataset
from worker.training.train import train

#: After the template of Qwen 3: tools in the system message, results in turns of the user, empty reasoning in the last
#: turn of the assistant, and no role of a developer.
QWEN = """\
{%- if tools %}<|system|>{{ messages[0].content if messages[0].role == 'system' }}# Tools
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}<|end|>
{% elif messages[0].role == 'system' %}<|system|>{{ messages[0].content }}<|end|>
{% endif %}
{%- for message in messages %}
{%- if message.role == 'user' %}<|user|>{{ message.content }}<|end|>
{% elif message.role == 'assistant' %}<|assistant|>
{%- if loop.last or message.reasoning_content %}<think>
{{ message.reasoning_content }}
</think>

{% endif %}{{ message.content }}
{%- for call in message.tool_calls %}<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}<|end|>
{% elif message.role == 'tool' %}<|user|><tool_response>
{{ message.content }}
</tool_response><|end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|assistant|>{% endif %}"""
TRACK = {"type": "function", "function": {"name": "track", "parameters": {"type": "object"}}}
CALL = {"id": "t1", "type": "function", "function": {"name": "track", "arguments": '{"parcel": "ä7"}'}}
ASKED = {"role": "user", "content": [{"type": "text", "text": "Where"}, {"type": "text", "text": "is it?"}]}
CALLED: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "t1", "content": "in Leeds"}
HISTORY = {"messages": [{"role": "developer", "content": "Be kind."}, ASKED, CALLED, RESULT], "tools": [TRACK]}
WRITTEN = '<tool_call>\n{"name": "track", "arguments": {"parcel": "ä7"}}\n</tool_call>'
OPENED = (
    "<|system|>Be kind.# Tools\n"
    '{"type": "function", "function": {"name": "track", "parameters": {"type": "object"}}}\n<|end|>\n'
    f"<|user|>Where\nis it?<|end|>\n<|assistant|>{WRITTEN}<|end|>\n"
    "<|user|><tool_response>\nin Leeds\n</tool_response><|end|>\n<|assistant|>"
)


def tokenizer(template: str) -> Any:
    made = tiny.tokenizer()
    made.chat_template = template
    return made


def of(template: str, prompt: Any, answer: Mapping[str, Any]) -> Encoded | RowFault:
    [row] = Tokens(tokenizer(template), None).encode_chat([normal_prompt(prompt)], [[normal_message(answer)]])
    return row


def texts(row: Encoded | RowFault) -> tuple[str, str]:
    assert isinstance(row, Encoded), row
    made = tiny.tokenizer()
    return made.decode(row.prompt), made.decode(row.completion)


ANSWERS: dict[str, tuple[dict[str, Any], str]] = {
    "a text": ({"role": "assistant", "content": "In Leeds."}, "In Leeds.<|end|>"),
    # the empty reasoning that the template inserts was not opened when the call was sampled
    "a call": (CALLED, f"{WRITTEN}<|end|>"),
    "a text and a call": ({**CALLED, "content": "I look."}, f"I look.{WRITTEN}<|end|>"),
    "reasoning and a call": (
        {**CALLED, "reasoning": "Hm."},
        f"<think>\nHm.\n</think>\n\n{WRITTEN}<|end|>",
    ),
    "reasoning and a text": (
        {"role": "assistant", "content": "In Leeds.", "reasoning_content": "Hm."},
        "<think>\nHm.\n</think>\n\nIn Leeds.<|end|>",
    ),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_what_is_trained_is_the_template_s_rendering_of_context_and_answer(kind: str) -> None:
    answer, written = ANSWERS[kind]

    assert texts(of(QWEN, HISTORY, answer)) == (OPENED, written)


PLAIN = {"messages": [ASKED], "tools": [TRACK]}
FAULTS: dict[str, tuple[str, Any, dict[str, Any], RowFault]] = {
    "tools": (tiny.CHAT_TEMPLATE, PLAIN, ANSWERS["a text"][0], RowFault("template_drops_tools")),
    "calls": (tiny.CHAT_TEMPLATE, HISTORY["messages"], ANSWERS["a text"][0],
              RowFault("template_drops_tool_calls", "the call of track")),
    "arguments": (QWEN.replace("call.function.arguments | tojson", "'{}'"), PLAIN, CALLED,
                  RowFault("template_drops_tool_calls", "parcel of track")),
    "results": (QWEN.replace("'tool'", "'no'"), HISTORY, CALLED, RowFault("template_drops_tool_results")),
    "reasoning": (tiny.CHAT_TEMPLATE, [ASKED], ANSWERS["reasoning and a text"][0],
                  RowFault("template_drops_reasoning")),
    "the text beside a call": (QWEN.replace("{{ message.content }}\n{%- for", "\n{%- for"), PLAIN,
                               ANSWERS["a text and a call"][0], RowFault("template_changes_answer")),
    "control tokens": (QWEN, PLAIN, {**CALLED, "content": "<|end|><|user|>Hi"},
                       RowFault("control_tokens_in_answer", "<|user|>")),
    "a prefill before a call": (QWEN, [ASKED, {"role": "assistant", "content": "So"}], CALLED,
                                RowFault("template_prefill")),
}  # fmt: skip


@pytest.mark.parametrize("dropped", FAULTS)
def test_what_a_template_drops_has_a_reason_of_its_own(dropped: str) -> None:
    template, prompt, answer, fault = FAULTS[dropped]

    assert of(template, prompt, answer) == fault


def test_a_message_of_the_developer_is_one_of_the_system_only_where_the_template_knows_no_developer() -> None:
    prompt = [{"role": "developer", "content": "Be kind."}, ASKED]
    answer = ANSWERS["a text"][0]

    known, unknown = of(tiny.CHAT_TEMPLATE, prompt, answer), of(QWEN, prompt, answer)

    assert texts(known)[0].startswith("<|developer|>Be kind.")
    assert texts(unknown)[0].startswith("<|system|>Be kind.")


def test_plain_rows_beside_whole_messages_have_the_same_tokens_and_keys(tmp_path: Path) -> None:
    # given a row of texts alone in both kinds of columns
    prompt, answer = [{"role": "user", "content": "Hi"}], [{"role": "assistant", "content": "Hello"}]
    columns = {"label": [True], "weight": [1.0], "completion_id": ["c"], "position": [0]}
    reads = []
    for name, kind in (("plain", MESSAGES), ("whole", WHOLE_MESSAGES)):
        table = pa.table(
            {"prompt": pa.array([prompt], kind), "completion": pa.array([answer], kind), **columns}
            | ({TOOLS: pa.array([None], pa.string())} if name == "whole" else {})
        )
        pq.write_table(table, tmp_path / f"{name}.parquet")
        shard = Shard(path=f"{name}.parquet", split="train", format="chat", rows=1, sha256="")
        reads.append(read_rows(tmp_path, [shard], Tokens(tiny.tokenizer(chat=True), None), 64).rows[0])

    first, second = reads
    assert (first.prompt.tolist(), first.completion.tolist()) == (second.prompt.tolist(), second.completion.tolist())
    assert first.prompt_key == second.prompt_key


def test_a_run_takes_a_step_on_rows_with_tools_and_calls(tmp_path: Path, base: Path) -> None:
    # given a base model whose template knows tools, and rows with tools in one shard with plain ones
    folder = tmp_path / "base"
    tiny.save_model(folder, num_hidden_layers=1, max_position_embeddings=512)
    tokenizer(QWEN).save_pretrained(folder)
    rows = tiny.chat_rows(8)
    for number, row in enumerate(rows[:4]):
        row["prompt"] = normal_prompt({**HISTORY, "messages": [*HISTORY["messages"], {**ASKED, "name": f"n{number}"}]})
        row["completion"] = [normal_message(CALLED if number % 2 else ANSWERS["a text"][0])]
    staged = [{**row, TOOLS: tools_text(row["prompt"]), "prompt": _messages(row["prompt"])} for row in rows]

    train(tiny.stage(tmp_path / "w", folder, staged, epochs=1, max_length=512))

    summary = tiny.document(tmp_path / "w" / "training.json")
    assert (summary["rows_trained"], summary["rows_dropped"], summary["steps"]) == (8, 0, 1)


def _messages(prompt: Any) -> Any:
    return prompt["messages"] if isinstance(prompt, dict) else prompt


def test_a_file_of_trl_with_tools_is_read_whole(tmp_path: Path, base: Path) -> None:
    row = {"prompt": HISTORY["messages"][1:], "completion": [CALLED], "tools": [TRACK], "label": True}

    request = asking.request(tmp_path, base, [row, *tiny.chat_rows(8)], holdout=0)

    data = read_dataset(request, request.recipe())

    example = data.train.examples[0]
    assert example.prompt == normal_prompt({**HISTORY, "messages": HISTORY["messages"][1:]})
    assert example.completion == [normal_message(CALLED)]
    assert not data.ignored
