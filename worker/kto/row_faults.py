"""Checks of a row against the base model's chat template and tokenizer: what is trained must be what was judged.

A chat row is sound where the template, opened for the answer, keeps every message of the prompt as it is, and the whole
conversation begins with the opened prompt, followed by the answer unchanged and the template's end of the turn.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from thumbwheel.row_checks import Fault

from worker.kto.process import Refusal, first_line


class Template:
    """The chat template of a tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        source = tokenizer.chat_template
        self._may_print_the_clock = "strftime_now" in str(source)
        self.exists = bool(source)

    def conversation(self, prompt: Sequence[Any], answer: Sequence[Any]) -> tuple[str, str] | Fault:
        """Returns the opened prompt and the whole conversation, or why the row cannot be trained. Raises `Refusal`
        where the template prints the clock: no row of such a model is trained as it was served.
        """
        if not self.exists:
            return Fault("no_chat_template")
        try:
            opened = self._render(prompt, generation=True)
            closed = self._render(prompt, generation=False)
            whole = self._render([*prompt, *answer], generation=False)
            if self._may_print_the_clock:
                self._require_no_clock(prompt)
        except Refusal:
            raise
        except Exception as error:  # noqa: BLE001 - templates are programs and raise what they like
            return Fault("template_error", first_line(error))
        text = answer[0]["content"]
        if (fault := _changed_message(prompt, opened)) is not None:
            return fault
        if not whole.startswith(opened):
            # Only what the template itself writes is quoted: the detail outlives an erased text.
            opening = opened.removeprefix(closed) if opened.startswith(closed) else ""
            return Fault("template_generation_prompt", f"it opens with {opening!r}" if opening else "")
        rest = whole[len(opened) :]
        place = rest.find(text)
        if place < 0:
            return Fault("template_changes_answer")
        if rest[:place].strip():
            if opened == closed:
                return Fault("template_generation_prompt")
            # The template fills in what serving does not, such as an empty block of reasoning: the answer was sampled
            # right behind the opened prompt.
            whole = opened + rest[place:]
        return opened, whole

    def _render(self, messages: Sequence[Any], *, generation: bool, **variables: Any) -> str:
        return str(
            self._tokenizer.apply_chat_template(
                list(messages),
                tokenize=False,
                add_generation_prompt=generation,
                continue_final_message=False,
                **variables,
            )
        )

    def _require_no_clock(self, prompt: Sequence[Any]) -> None:
        """Renders at two different times."""
        source = self._tokenizer.get_chat_template()
        early, late = (
            self._render(
                prompt,
                generation=True,
                # A macro of the template goes before the function of the same name that reads the clock.
                chat_template="{% macro strftime_now(format) %}" + year + "{% endmacro %}" + source,
            )
            for year in ("1999", "2099")
        )
        if early != late:
            raise Refusal(
                "template_clock",
                "base_model: its chat template prints the current time (strftime_now), so a prompt is not trained as "
                "it was served: write a fixed date into the template",
            )


class ControlTokens:
    """The texts that the tokenizer reads as control tokens wherever they stand."""

    def __init__(self, tokenizer: Any, ends: Iterable[int]) -> None:
        special = {str(token.content) for token in tokenizer.added_tokens_decoder.values() if token.special}
        self._texts = tuple(sorted(filter(None, special | set(tokenizer.all_special_tokens)), key=len, reverse=True))
        #: how they begin: a text without any of these has none of them
        self._beginnings = tuple({text[:2] for text in self._texts})
        ending = (tokenizer.convert_ids_to_tokens(end) for end in ends)
        self._ends = tuple(text for text in ending if text in self._texts)

    def in_prompt(self, prompt: Any) -> bool:
        texts = [prompt] if isinstance(prompt, str) else [str(message.get("content") or "") for message in prompt]
        return any(self._first_in(text) is not None for text in texts)

    def _first_in(self, text: str) -> str | None:
        if not any(beginning in text for beginning in self._beginnings):
            return None
        return next((token for token in self._texts if token in text), None)

    def fault_of(self, answer: str) -> Fault | None:
        """An end token at the very end is the answer's own end, not a part of it."""
        body = self.without_end(answer)
        if not body:
            return Fault("empty_answer")
        control = self._first_in(body)
        return None if control is None else Fault("control_tokens_in_answer", control)

    def without_end(self, answer: str) -> str:
        """Returns `answer` without the end tokens behind it and without white space around it."""
        body = answer.strip()
        while ended := next((end for end in self._ends if body.endswith(end)), None):
            body = body.removesuffix(ended).rstrip()
        return body


def writes_spaces(tokenizer: Any) -> bool:
    """Whether decoding gives a text's white space back. A tokenizer without a decoder puts a space between tokens."""
    return not tokenizer.is_fast or tokenizer.backend_tokenizer.decoder is not None


def is_written(answer: str, decoded: str, *, with_spaces: bool) -> bool:
    """Whether `decoded`, the text of the answer's tokens, holds `answer` unchanged. Canonically equal characters are
    equal here.
    """
    if not with_spaces:
        answer, decoded = ("".join(text.split()) for text in (answer, decoded))
    return answer in decoded or unicodedata.normalize("NFC", answer) in unicodedata.normalize("NFC", decoded)


def _changed_message(prompt: Sequence[Mapping[str, Any]], opened: str) -> Fault | None:
    times = Counter(str(message["content"]) for message in prompt if message["content"])
    for message in prompt:
        content = message["content"]
        if content and opened.count(content) < times[content]:
            return Fault("template_changes_prompt", f"the message of {message['role']}")
    return None
