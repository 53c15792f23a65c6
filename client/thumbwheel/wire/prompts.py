"""Prompts: a text, the messages of a chat, or messages with the tools that the model was offered."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, JsonValue, Tag, model_validator

from thumbwheel.wire.values import Body, CompletionText, Metadata, Name, Text, storable_value

MOST_PARTS = 1024
MOST_CALLS = 128
MOST_TOOLS = 256


class FunctionCall(Body):
    name: Name
    arguments: Text | Metadata = Field(description="as the model wrote them, or decoded")


class ToolCall(Body):
    id: Name | None = None
    type: Literal["function"] = "function"
    function: FunctionCall


class ContentPart(BaseModel):
    """A part of a message's content. Every part is stored as it was sent; only those with text are trained on."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: Name = Field(description="text, or that of another part, such as image_url")
    text: Text | None = Field(None, description="the text of a part of type text")

    @model_validator(mode="after")
    def _is_storable(self) -> Self:
        if self.type == "text" and self.text is None:
            raise ValueError("text is missing: a part of type text has it")
        storable_value(dict(self.model_extra or {}))
        return self


def _text_or_parts(content: object) -> str:
    return "parts" if isinstance(content, list) else "text"


#: The shape that was sent decides which errors are reported.
Content = Annotated[
    Annotated[Text, Tag("text")]
    | Annotated[list[ContentPart], Field(min_length=1, max_length=MOST_PARTS), Tag("parts")],
    Discriminator(_text_or_parts),
]


class Message(Body):
    """One turn of a chat. `content` may be left out where the assistant only calls tools."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content | None = Field(None, description="a text, or a list of parts")
    name: Name | None = None
    refusal: Text | None = Field(None, description="why the assistant refused, where OpenAI's API gives it apart")
    reasoning_content: Text | None = Field(None, description="what the assistant thought before it answered")
    reasoning: Text | None = Field(None, description="the same, by the name that other servers use")
    tool_calls: Annotated[list[ToolCall], Field(min_length=1, max_length=MOST_CALLS)] | None = None
    tool_call_id: Name | None = Field(None, description="the call that a message of role tool answers")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        for name in ("tool_calls", "reasoning_content", "reasoning", "refusal"):
            if getattr(self, name) is not None and self.role != "assistant":
                belongs = "belong" if name == "tool_calls" else "belongs"
                raise ValueError(f"{name} {belongs} to a message of role assistant")
        if self.tool_call_id is not None and self.role != "tool":
            raise ValueError("tool_call_id belongs to a message of role tool")
        if self.content is None and self.tool_calls is None and self.refusal is None:
            raise ValueError("content is missing: send a text, which may be empty, or tool_calls")
        return self


def _named(tool: dict[str, JsonValue]) -> dict[str, JsonValue]:
    function = tool.get("function", tool)
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        raise ValueError('has no name: send {"type": "function", "function": {"name": …, "parameters": {…}}}')
    return tool


Tool = Annotated[Metadata, AfterValidator(_named)]


class ChatWithTools(Body):
    """The messages of a chat, and the tools that the model could call."""

    messages: list[Message] = Field(min_length=1)
    tools: list[Tool] | None = Field(
        None, max_length=MOST_TOOLS, description="the tools as JSON schemas, as they were sent to the model"
    )


def _completes(message: Message) -> Message:
    if message.role != "assistant":
        raise ValueError(f"is a message of role {message.role}: a completion is one message of the assistant")
    texts = message.content if isinstance(message.content, str) else [part.text for part in message.content or ()]
    if not (message.tool_calls or message.refusal or any(texts)) and not _has_media(message):
        raise ValueError("is empty: send its text, or tool_calls")
    return message


def _has_media(message: Message) -> bool:
    return isinstance(message.content, list) and any(part.type != "text" for part in message.content)


def _text_or_message(completion: object) -> str:
    return "message" if isinstance(completion, Mapping | Message) else "text"


#: What the model wrote: a text, or the assistant's message where it has tool calls or reasoning.
Answer = Annotated[
    Annotated[CompletionText, Tag("text")] | Annotated[Message, AfterValidator(_completes), Tag("message")],
    Discriminator(_text_or_message),
]


def _kind(prompt: object) -> str:
    return "chat" if isinstance(prompt, list) else "text"


def _kind_with_tools(prompt: object) -> str:
    return "chat_with_tools" if isinstance(prompt, Mapping | ChatWithTools) else _kind(prompt)


#: A text or a chat, without tools.
TextOrChat = Annotated[
    Annotated[CompletionText, Tag("text")] | Annotated[list[Message], Field(min_length=1), Tag("chat")],
    Discriminator(_kind),
]
#: The shape that was sent decides which errors are reported.
Prompt = Annotated[
    Annotated[CompletionText, Tag("text")]
    | Annotated[list[Message], Field(min_length=1), Tag("chat")]
    | Annotated[ChatWithTools, Tag("chat_with_tools")],
    Discriminator(_kind_with_tools),
]
