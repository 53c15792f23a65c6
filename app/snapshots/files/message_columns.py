"""The columns of prompts and completions in a snapshot's shards, and how their values are read. Pure.

A chat is a list of messages with role and content. Where a message of any row has more, such as tool calls, all shards
of chats have the fields of whole messages, null without a value, and a column with the tools of each prompt.
"""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from thumbwheel.chat_messages import tools_of

#: The column with the tools that a prompt offers, as JSON text; null if it offers none.
TOOLS = "tools"

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
#: `arguments` is the text of a JSON object, since each function has its own fields.
WHOLE_MESSAGES = pa.list_(
    pa.struct(
        [
            ("role", pa.string()),
            ("content", pa.string()),
            ("name", pa.string()),
            ("reasoning_content", pa.string()),
            (
                "tool_calls",
                pa.list_(
                    pa.struct(
                        [
                            ("id", pa.string()),
                            ("type", pa.string()),
                            ("function", pa.struct([("name", pa.string()), ("arguments", pa.string())])),
                        ]
                    )
                ),
            ),
            ("tool_call_id", pa.string()),
        ]
    )
)
TEXT: Mapping[str, pa.DataType] = {"text": pa.string(), "chat": MESSAGES}


def column_type(kind: str, *, rich: bool) -> pa.DataType:
    """Returns the type of prompts and completions. `rich`: whether a message of any row has more than role and text."""
    return WHOLE_MESSAGES if rich and kind == "chat" else TEXT[kind]


def tools_text(prompt: Any) -> str | None:
    """Returns the value of the column `TOOLS`."""
    tools = tools_of(prompt)
    return json.dumps(list(tools), sort_keys=True, ensure_ascii=False) if tools else None


def prompt_of(row: Mapping[str, Any]) -> Any:
    """Returns the prompt of a shard's row in its normal form: see `thumbwheel.chat_messages`."""
    messages = chat_of(row["prompt"])
    tools = row.get(TOOLS)
    return {"messages": messages, "tools": json.loads(tools)} if tools else messages


def is_whole(schema: pa.Schema) -> bool:
    """Returns whether a shard has the columns of whole messages."""
    kind = schema.field("prompt").type
    return TOOLS in schema.names or (pa.types.is_list(kind) and kind.value_type.num_fields > 2)


def in_normal_form(batch: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Returns a batch of a shard with whole messages with its prompts and completions in their normal form."""
    tools = batch.get(TOOLS) or [None] * len(batch["prompt"])
    prompts = [prompt_of({"prompt": text, TOOLS: own}) for text, own in zip(batch["prompt"], tools, strict=True)]
    return {**batch, "prompt": prompts, "completion": list(map(chat_of, batch["completion"]))}


def chat_of(text: Any) -> Any:
    """Returns a text as it is, and messages without the fields that have no value."""
    return text if isinstance(text, str) else [_without_nulls(message) for message in text]


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
