"""The samples of a suite: each test with each of its prompts. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from thumbwheel import wire

from app.suites.documents import prompts_of
from app.suites.filling import fill, fill_all


@dataclass(frozen=True)
class SuiteSample:
    """A test of a suite with one of its prompts."""

    number: int
    test: wire.SuiteTest
    prompt: wire.SuitePrompt

    def content(self) -> str | list[Mapping[str, Any]]:
        """Returns the text or the chat, with the variables of the test."""
        if isinstance(self.prompt.prompt, str):
            return fill(self.prompt.prompt, self.test.vars)
        chat = (message.model_dump(mode="json", exclude_none=True) for message in self.prompt.prompt)
        return [fill_all(message, self.test.vars) for message in chat]

    def messages(self) -> list[Mapping[str, Any]]:
        """Returns the chat to send, with the variables of the test. A text is a message of the user."""
        content = self.content()
        return [{"role": "user", "content": content}] if isinstance(content, str) else content


def samples_of(suite: wire.Suite) -> list[SuiteSample]:
    """Returns the samples of a suite in the order of its tests."""
    return [
        SuiteSample(number, test, prompt)
        for number, test in enumerate(suite.tests)
        for prompt in prompts_of(suite, test)
    ]
