"""Prompts: a text, or the messages of a chat."""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from thumbwheel.wire.values import Body, CompletionText, Metadata, Name, Text


class FunctionCall(Body):
    name: Name
    arguments: Text | Metadata = Field(description="as the model wrote them, or decoded")


class ToolCall(Body):
    id: Name | None = None
    type: Literal["function"] = "function"
    function: FunctionCall


class Message(Body):
    """One turn of a chat. `content` may be left out where the assistant only calls tools."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | None = None
    name: Name | None = None
    tool_calls: Annotated[list[ToolCall], Field(min_length=1, max_length=128)] | None = None
    tool_call_id: Name | None = Field(None, description="the call that a message of role tool answers")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.tool_calls is not None and self.role != "assistant":
            raise ValueError("tool_calls belong to a message of role assistant")
        if self.tool_call_id is not None and self.role != "tool":
            raise ValueError("tool_call_id belongs to a message of role tool")
        if self.content is None and self.tool_calls is None:
            raise ValueError("content is missing: send a text, which may be empty, or tool_calls")
        return self


def _text_or_chat(prompt: object) -> str:
    return "chat" if isinstance(prompt, list) else "text"


#: The shape that was sent decides which errors are reported.
Prompt = Annotated[
    Annotated[CompletionText, Tag("text")] | Annotated[list[Message], Field(min_length=1), Tag("chat")],
    Discriminator(_text_or_chat),
]
