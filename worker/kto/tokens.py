"""From a prompt and a completion to token ids: boundary, end of sequence, truncation.

- The boundary is the longest common prefix of tokens(prompt) and tokens(prompt + completion).
- A completion ends with exactly one end-of-sequence token, which counts like every other completion token.
- What is too long loses the prompt's beginning first, then the completion's tail before its end token.

Chat messages go through the tokenizer's chat template, strings do not. Which tokens count is known by position, never
by id: a pad token that equals the end token masks nothing.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.kto.process import Refusal

Ids = NDArray[np.int32]
Weights = NDArray[np.float32]

#: Tokens of the shortest completion that is trained on: one, and its end.
SHORTEST = 2


class Span(NamedTuple):
    """Characters of a completion whose tokens count differently, for the objective tkto."""

    start: int
    end: int
    weight: float


class Encoded(NamedTuple):
    prompt: Ids  # [P]
    completion: Ids  # [C]
    weights: Weights | None  # [C], where spans were asked for


class Fitted(NamedTuple):
    prompt: Ids
    completion: Ids
    tokens_cut: int


class Tokens:
    """A tokenizer with the model's idea of where a completion ends."""

    def __init__(self, tokenizer: Any, generation_eos: int | Sequence[int] | None) -> None:
        self.tokenizer = tokenizer
        listed = [generation_eos] if isinstance(generation_eos, int) else list(generation_eos or [])
        own = tokenizer.eos_token_id
        #: every id that ends a sampled completion
        self.ends: tuple[int, ...] = tuple(
            dict.fromkeys(i for i in (own, *listed) if i is not None and i < len(tokenizer))
        )
        if not self.ends:
            raise Refusal(
                "no_eos",
                "base_model: neither the tokenizer nor generation_config.json names an eos token: set eos_token in "
                "tokenizer_config.json, else completions never learn to end",
            )
        #: the id that is appended where a completion lacks one
        self.end = self.ends[0]
        start = tokenizer.bos_token_id
        self.start = self.end if start is None else int(start)

    def encode_text(
        self, prompts: Sequence[str], completions: Sequence[str], spans: Sequence[Sequence[Span]] | None = None
    ) -> list[Encoded]:
        wholes = [prompt + completion for prompt, completion in zip(prompts, completions, strict=True)]
        starts = [len(prompt) for prompt in prompts]
        return self._encode(prompts, wholes, spans, starts, special=True)

    def encode_chat(
        self, prompts: Sequence[Any], completions: Sequence[Any], spans: Sequence[Sequence[Span]] | None = None
    ) -> list[Encoded]:
        """`spans` count the characters of a completion's first message."""
        if not self.tokenizer.chat_template:
            raise Refusal(
                "no_chat_template",
                "base_model: the snapshot has chat rows, the tokenizer has no chat template: add chat_template.jinja "
                "to the model folder, or send prompts as text",
            )
        opened = [self._render(prompt, generation=True) for prompt in prompts]
        wholes = [self._render([*p, *c], generation=False) for p, c in zip(prompts, completions, strict=True)]
        # A template may write what it likes around a message; the message itself follows the opened prompt.
        said = [str(completion[0].get("content") or "") if completion else "" for completion in completions]
        starts = [max(0, whole.find(text, len(p))) for whole, text, p in zip(wholes, said, opened, strict=True)]
        return self._encode(opened, wholes, spans, starts, special=False)

    def _render(self, messages: Sequence[Any], *, generation: bool) -> str:
        try:
            text = self.tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=generation, continue_final_message=False
            )
        except Exception as error:  # noqa: BLE001 - templates are programs and raise what they like
            raise Refusal("chat_template", f"base_model: its chat template fails on a chat row: {error}") from None
        return str(text)

    def _encode(
        self,
        prompts: Sequence[str],
        wholes: Sequence[str],
        spans: Sequence[Sequence[Span]] | None,
        starts: Sequence[int],
        *,
        special: bool,
    ) -> list[Encoded]:
        """`wholes` are the prompts with their completions, which begin at the characters `starts`."""
        if spans is not None and not self.tokenizer.is_fast:
            raise Refusal(
                "spans",
                "base_model: its tokenizer does not say where a token lies in the text, so spans cannot weigh tokens: "
                "add tokenizer.json, or set objective to kto",
            )
        prompt_ids = self.tokenizer(list(prompts), add_special_tokens=special)["input_ids"]
        found = self.tokenizer(list(wholes), add_special_tokens=special, return_offsets_mapping=spans is not None)
        encoded = []
        for number, (prompt, whole) in enumerate(zip(prompt_ids, found["input_ids"], strict=True)):
            boundary = common_prefix(prompt, whole)
            completion = self._end_once(whole[boundary:])
            weights = None
            if spans is not None:
                places = found["offset_mapping"][number][boundary:]
                weights = _weights(len(completion), places, starts[number], spans[number])
            # The first completion token needs something to be predicted from.
            context = whole[:boundary] or [self.start]
            encoded.append(Encoded(np.array(context, dtype=np.int32), np.array(completion, dtype=np.int32), weights))
        return encoded

    def _end_once(self, completion: list[int]) -> list[int]:
        """Ends with one end token: the template's own, without the white space that some put behind it, or ours."""
        body = len(completion)
        while body and completion[body - 1] not in self.ends:
            body -= 1
        if body and not self.tokenizer.decode(completion[body:]).strip():
            completion = completion[:body]
            while len(completion) > 1 and completion[-2] == completion[-1]:
                completion = completion[:-1]
            return completion if len(completion) > 1 else []
        return [*completion, self.end] if completion else []


def _weights(tokens: int, places: Sequence[tuple[int, int]], start: int, spans: Sequence[Span]) -> Weights:
    """A token weighs what the span does that it shares most characters with, and 1 where there is none.

    `places`: first and last + 1 character of each token, in the text in which the completion begins at `start`; an end
    token that we appended ourselves has none.
    """
    weights = np.ones(tokens, dtype=np.float32)
    for index, (first, last) in enumerate(places[:tokens]):
        shared = [(min(last, start + s.end) - max(first, start + s.start), s.weight) for s in spans]
        characters, weight = max(shared, default=(0, 1.0), key=lambda pair: pair[0])
        if characters > 0:
            weights[index] = weight
    return weights


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    for position, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return position
    return min(len(left), len(right))


def fit(prompt: Ids, completion: Ids, max_length: int) -> Fitted | None:
    """Cut to `max_length` tokens together, or None where nothing but the end token would stay of the completion.

    At least one prompt token stays; the completion's last token, its end, always stays.
    """
    kept_prompt = prompt[max(0, len(prompt) - max(1, max_length - len(completion))) :]
    room = max_length - len(kept_prompt)
    kept = completion if len(completion) <= room else np.concatenate([completion[: room - 1], completion[-1:]])
    if len(completion) < SHORTEST or len(kept) < SHORTEST:
        return None
    return Fitted(kept_prompt, kept, len(prompt) - len(kept_prompt) + len(completion) - len(kept))


def fit_weights(weights: Weights, kept: int) -> Weights:
    """The weights of what `fit` kept of a completion: its first tokens and its end."""
    return weights if kept == len(weights) else np.concatenate([weights[: kept - 1], weights[-1:]])
