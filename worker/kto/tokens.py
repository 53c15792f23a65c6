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

    def encode_text(self, prompts: Sequence[str], completions: Sequence[str]) -> list[tuple[Ids, Ids]]:
        wholes = [prompt + completion for prompt, completion in zip(prompts, completions, strict=True)]
        return self._split(self.tokenizer(list(prompts))["input_ids"], self.tokenizer(wholes)["input_ids"])

    def encode_chat(self, prompts: Sequence[Any], completions: Sequence[Any]) -> list[tuple[Ids, Ids]]:
        if not self.tokenizer.chat_template:
            raise Refusal(
                "no_chat_template",
                "base_model: the snapshot has chat rows, the tokenizer has no chat template: add chat_template.jinja "
                "to the model folder, or send prompts as text",
            )
        opened = [self._render(prompt, generation=True) for prompt in prompts]
        wholes = [self._render([*p, *c], generation=False) for p, c in zip(prompts, completions, strict=True)]
        return self._split(
            self.tokenizer(opened, add_special_tokens=False)["input_ids"],
            self.tokenizer(wholes, add_special_tokens=False)["input_ids"],
        )

    def _render(self, messages: Sequence[Any], *, generation: bool) -> str:
        try:
            text = self.tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=generation, continue_final_message=False
            )
        except Exception as error:  # noqa: BLE001 - templates are programs and raise what they like
            raise Refusal("chat_template", f"base_model: its chat template fails on a chat row: {error}") from None
        return str(text)

    def _split(self, prompts: Sequence[list[int]], wholes: Sequence[list[int]]) -> list[tuple[Ids, Ids]]:
        pairs = []
        for prompt, whole in zip(prompts, wholes, strict=True):
            boundary = common_prefix(prompt, whole)
            completion = self._end_once(whole[boundary:])
            # The first completion token needs something to be predicted from.
            context = whole[:boundary] or [self.start]
            pairs.append((np.array(context, dtype=np.int32), np.array(completion, dtype=np.int32)))
        return pairs

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
    if len(completion) < 2 or len(kept) < 2:
        return None
    return Fitted(kept_prompt, kept, len(prompt) - len(kept_prompt) + len(completion) - len(kept))
