"""Turns a prompt and a completion into token ids: boundary, end of sequence, truncation.

- The boundary is the longest common prefix of tokens(prompt) and tokens(prompt + completion).
- A completion ends with exactly one end-of-sequence token, which counts like every other completion token.
- A row that is too long loses the prompt's beginning first, then the completion's tail before its end token.

A row whose tokens would not say what was judged becomes a fault, for which it is dropped, instead of token ids.

Chat messages go through the tokenizer's chat template, strings do not. Counted tokens are known by position, never by
id, so a pad token that equals the end token masks nothing.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from thumbwheel.row_checks import RowFault

from worker.training.data.chat_template import Conversation, Template
from worker.training.data.row_faults import ControlTokens, is_written, writes_spaces
from worker.training.machine.process import TrainingRefusal

Ids = NDArray[np.int32]
Weights = NDArray[np.float32]

#: Tokens of the shortest completion that is trained on: one token and the end token.
SHORTEST = 2


class Span(NamedTuple):
    """Characters of a completion whose tokens count differently, for the objective tkto."""

    start: int
    end: int
    weight: float


class Encoded(NamedTuple):
    prompt: Ids  # [P]
    completion: Ids  # [C]
    weights: Weights | None  # [C], if spans were requested


#: The placeholder of a row until its tokens are checked.
_UNCHECKED = RowFault("empty_answer")


class Fitted(NamedTuple):
    prompt: Ids
    completion: Ids
    tokens_cut: int


class Tokens:
    """A tokenizer with the tokens by which the model ends a completion."""

    def __init__(self, tokenizer: Any, generation_eos: int | Sequence[int] | None) -> None:
        self.tokenizer = tokenizer
        listed = [generation_eos] if isinstance(generation_eos, int) else list(generation_eos or [])
        own = tokenizer.eos_token_id
        #: every id that ends a sampled completion
        self.ends: tuple[int, ...] = tuple(
            dict.fromkeys(i for i in (own, *listed) if i is not None and i < len(tokenizer))
        )
        if not self.ends:
            raise TrainingRefusal(
                "no_eos",
                "base_model: neither the tokenizer nor generation_config.json names an eos token: set eos_token in "
                "tokenizer_config.json, else completions never learn to end",
            )
        #: the id that is appended to a completion without an end
        self.end = self.ends[0]
        self._end_set = frozenset(self.ends)
        self._template = Template(tokenizer)
        self._with_spaces = writes_spaces(tokenizer)
        self._control = ControlTokens(tokenizer, self.ends)
        start = tokenizer.bos_token_id
        self.start = self.end if start is None else int(start)

    @property
    def has_chat_template(self) -> bool:
        return self._template.exists

    def encode_text(
        self, prompts: Sequence[str], completions: Sequence[str], spans: Sequence[Sequence[Span]] | None = None
    ) -> list[Encoded | RowFault]:
        """Returns each row's token ids, or the fault for which it is dropped."""
        rows = [
            Conversation(prompt, prompt + completion, len(prompt), completion)
            for prompt, completion in zip(prompts, completions, strict=True)
        ]
        return self._encode(rows, spans, special=True)

    def encode_chat(
        self, prompts: Sequence[Any], completions: Sequence[Any], spans: Sequence[Sequence[Span]] | None = None
    ) -> list[Encoded | RowFault]:
        """Returns each row's token ids, or the fault for which it is dropped.

        A completion is one message of the assistant; `spans` count its characters. Prompts and completions are in their
        normal form. Raises `TrainingRefusal` if the chat template prints the time.
        """
        rows = [
            self._template.conversation(prompt, completion)
            for prompt, completion in zip(prompts, completions, strict=True)
        ]
        return self._encode(rows, spans, special=False)

    def reads_control_tokens_in(self, prompt: Any) -> bool:
        """Returns whether a text in `prompt`, as people wrote it, contains the text of a control token.

        Training reads it as that control token, as the serving stack does.
        """
        return self._control.in_prompt(prompt)

    def trims(self, prompt: Any) -> bool:
        """Returns whether the chat template strips white space from an end of any message of an encoded prompt."""
        return not isinstance(prompt, str) and self._template.trims(prompt)

    def _encode(
        self,
        rows: Sequence[Conversation | RowFault],
        spans: Sequence[Sequence[Span]] | None,
        *,
        special: bool,
    ) -> list[Encoded | RowFault]:
        if spans is not None and not self.tokenizer.is_fast:
            raise TrainingRefusal(
                "spans",
                "base_model: its tokenizer gives no character offsets of tokens, so spans cannot weigh tokens: "
                "add tokenizer.json, or set objective to kto",
            )
        result: list[Encoded | RowFault] = []
        sound: list[tuple[int, Conversation]] = []
        for index, row in enumerate(rows):
            fault = row if isinstance(row, RowFault) else self._control.fault_of(row.texts)
            result.append(fault or _UNCHECKED)
            if fault is None and isinstance(row, Conversation):
                sound.append((index, row))
        if not sound:
            return result
        prompt_ids = self.tokenizer([row.opened for _, row in sound], add_special_tokens=special)["input_ids"]
        wholes = self.tokenizer(
            [row.whole for _, row in sound], add_special_tokens=special, return_offsets_mapping=spans is not None
        )
        boundaries = [common_prefix(*pair) for pair in zip(prompt_ids, wholes["input_ids"], strict=True)]
        completions = [
            self._end_once(whole[boundary:]) for whole, boundary in zip(wholes["input_ids"], boundaries, strict=True)
        ]
        written = self.tokenizer.batch_decode(
            [completion[:-1] for completion in completions], clean_up_tokenization_spaces=False
        )
        for number, (index, row) in enumerate(sound):
            completion, boundary = completions[number], boundaries[number]
            if (fault := self._fault_of_tokens(row, completion, written[number])) is not None:
                result[index] = fault
                continue
            weights = None
            if spans is not None:
                offsets = wholes["offset_mapping"][number][boundary:]
                # Spans count characters of a text: in a rendered message they have no place.
                weights = _weights(len(completion), offsets, row.start, spans[index] if row.chosen is None else ())
            # The first completion token needs a token to be predicted from.
            context = wholes["input_ids"][number][:boundary] or [self.start]
            result[index] = Encoded(np.array(context, dtype=np.int32), np.array(completion, dtype=np.int32), weights)
        return result

    def _fault_of_tokens(self, row: Conversation, completion: list[int], written: str) -> RowFault | None:
        """Returns the fault of the row's tokens. `written` is the decoded text of the completion before its end."""
        if len(completion) < SHORTEST:
            return RowFault("empty_answer")
        if not self._end_set.isdisjoint(completion[:-1]):
            return RowFault("end_not_once")
        # Tokenizers may add spaces around the control tokens that the template writes into a rendered message.
        with_spaces = self._with_spaces and row.chosen is None
        unchanged = is_written(self._control.without_end(row.answer), written, with_spaces=with_spaces)
        return None if unchanged else RowFault("tokenizer_changes_answer")

    def _end_once(self, completion: list[int]) -> list[int]:
        """Returns the completion with exactly one end token.

        It is the template's own, without the white space that some templates write after it, or `end`.
        """
        body = len(completion)
        while body and completion[body - 1] not in self.ends:
            body -= 1
        if body and not self.tokenizer.decode(completion[body:]).strip():
            completion = completion[:body]
            while len(completion) > 1 and completion[-2] == completion[-1]:
                completion = completion[:-1]
            return completion if len(completion) > 1 else []
        return [*completion, self.end] if completion else []


def _weights(tokens: int, offsets: Sequence[tuple[int, int]], start: int, spans: Sequence[Span]) -> Weights:
    """Returns for each token the weight of the span with which it shares most characters, or 1 if there is none.

    `offsets` are the first and the last + 1 character of each token, in the text in which the completion begins at
    `start`; an end token that was appended here has none.
    """
    weights = np.ones(tokens, dtype=np.float32)
    # Spans by their beginning, and the last end up to each: only those that may share a character are compared.
    order = sorted(range(len(spans)), key=lambda number: spans[number].start)
    starts = [spans[number].start for number in order]
    ends = list(accumulate((spans[number].end for number in order), max))
    for index, (first, last) in enumerate(offsets[:tokens]):
        near = order[bisect_right(ends, first - start) : bisect_left(starts, last - start)]
        # Of spans that share as many characters, the one that was given first counts.
        shared = [(min(last - start, spans[n].end) - max(first - start, spans[n].start), -n) for n in near]
        characters, number = max(shared, default=(0, 0))
        if characters > 0:
            weights[index] = spans[-number].weight
    return weights


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """Returns the length of the longest common prefix."""
    for position, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return position
    return min(len(left), len(right))


def fit(prompt: Ids, completion: Ids, max_length: int) -> Fitted | None:
    """Cuts a row to `max_length` tokens; returns None if only the end token would remain of the completion.

    At least one prompt token remains, and the completion's last token, its end, always does.
    """
    kept_prompt = prompt[max(0, len(prompt) - max(1, max_length - len(completion))) :]
    room = max_length - len(kept_prompt)
    kept = completion if len(completion) <= room else np.concatenate([completion[: room - 1], completion[-1:]])
    if len(completion) < SHORTEST or len(kept) < SHORTEST:
        return None
    return Fitted(kept_prompt, kept, len(prompt) - len(kept_prompt) + len(completion) - len(kept))


def fit_weights(weights: Weights, kept: int) -> Weights:
    """Returns the weights of the tokens that `fit` leaves of a completion: its first ones and its end."""
    return weights if kept == len(weights) else np.concatenate([weights[: kept - 1], weights[-1:]])
