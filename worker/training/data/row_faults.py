"""Checks of a row against the base model's tokenizer: the trained text must be the judged text.

`worker.training.data.chat_template` checks it against the chat template.
"""

import unicodedata
from collections.abc import Iterable
from typing import Any

from thumbwheel.chat_messages import messages_of, text_of
from thumbwheel.row_checks import RowFault


class ControlTokens:
    """The texts that the tokenizer reads as control tokens wherever they occur."""

    def __init__(self, tokenizer: Any, ends: Iterable[int]) -> None:
        special = {str(token.content) for token in tokenizer.added_tokens_decoder.values() if token.special}
        self._texts = tuple(sorted(filter(None, special | set(tokenizer.all_special_tokens)), key=len, reverse=True))
        #: their first characters: a text without any of these contains no control token
        self._beginnings = tuple({text[:2] for text in self._texts})
        ending = (tokenizer.convert_ids_to_tokens(end) for end in ends)
        self._ends = tuple(text for text in ending if text in self._texts)

    def in_prompt(self, prompt: Any) -> bool:
        texts = [prompt] if isinstance(prompt, str) else map(text_of, messages_of(prompt))
        return any(self._first_in(text) is not None for text in texts)

    def _first_in(self, text: str) -> str | None:
        if not any(beginning in text for beginning in self._beginnings):
            return None
        return next((token for token in self._texts if token in text), None)

    def fault_of(self, answer: str) -> RowFault | None:
        """Returns the fault of an empty answer or of one with a control token in it.

        An end token at the very end is the answer's own end and not a part of it.
        """
        body = self.without_end(answer)
        if not body:
            return RowFault("empty_answer")
        control = self._first_in(body)
        return None if control is None else RowFault("control_tokens_in_answer", control)

    def without_end(self, answer: str) -> str:
        """Returns `answer` without the end tokens after it and without white space around it."""
        body = answer.strip()
        while ended := next((end for end in self._ends if body.endswith(end)), None):
            body = body.removesuffix(ended).rstrip()
        return body


def writes_spaces(tokenizer: Any) -> bool:
    """Returns whether decoding restores white space. A tokenizer without a decoder puts a space between all tokens."""
    return not tokenizer.is_fast or tokenizer.backend_tokenizer.decoder is not None


def is_written(answer: str, decoded: str, *, with_spaces: bool) -> bool:
    """Returns whether `decoded`, the text of the answer's tokens, contains `answer` unchanged.

    Canonically equal characters count as equal.
    """
    if not with_spaces:
        answer, decoded = ("".join(text.split()) for text in (answer, decoded))
    return answer in decoded or unicodedata.normalize("NFC", answer) in unicodedata.normalize("NFC", decoded)
