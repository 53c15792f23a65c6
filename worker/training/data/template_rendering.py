"""Renders messages by the chat template of a tokenizer."""

from collections.abc import Mapping, Sequence
from typing import Any

from worker.training.machine.process import TrainingRefusal


class NotContinued(Exception):
    """The template does not write the prompt's last turn in a way that an answer can continue."""


class Rendering:
    """The chat template of a tokenizer. Messages are as templates take them: see `tool_marks.rendered_form`. Further
    variables, such as tools, are passed to the template."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._may_print_the_clock = "strftime_now" in str(tokenizer.chat_template)

    def opened(self, prompt: Sequence[Mapping[str, Any]], **variables: Any) -> str:
        """Returns the text that the answer follows. Raises `NotContinued` and any error of the template."""
        if prompt[-1]["role"] != "assistant":
            return self.render(prompt, generation=True, **variables)
        self.render(prompt, **variables)  # raises the template's own errors
        try:
            return self.render(prompt, continues=True, **variables)
        except ValueError:  # of transformers: the template does not end with the turn's text
            raise NotContinued from None

    def rendered(self, messages: Sequence[Any], **variables: Any) -> str | None:
        """Returns the text of `messages`, or None if the template fails."""
        try:
            return self.render(messages, **variables)
        except Exception:  # noqa: BLE001 - templates are programs and raise what they like
            return None

    def render(
        self, messages: Sequence[Any], *, generation: bool = False, continues: bool = False, **variables: Any
    ) -> str:
        return str(
            self._tokenizer.apply_chat_template(
                list(messages),
                tokenize=False,
                add_generation_prompt=generation,
                continue_final_message=continues,
                **variables,
            )
        )

    def require_no_clock(self, prompt: Sequence[Any], **offered: Any) -> None:
        """Raises `TrainingRefusal` if the template renders `prompt` differently at two different times."""
        if not self._may_print_the_clock:
            return
        source = self._tokenizer.get_chat_template()
        early, late = (
            self.opened(
                prompt,
                # A macro in the template takes precedence over the function of the same name that reads the clock.
                chat_template="{% macro strftime_now(format) %}" + year + "{% endmacro %}" + source,
                **offered,
            )
            for year in ("1999", "2099")
        )
        if early != late:
            raise TrainingRefusal(
                "template_clock",
                "base_model: its chat template prints the current time (strftime_now), so a prompt is not trained as "
                "it was served: write a fixed date into the template",
            )
