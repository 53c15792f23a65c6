"""Names that requests and registered completions share. Pure."""

from collections.abc import Mapping
from typing import Any

#: Fields of a request that are stored as the completion's `sampling`.
SAMPLING = (
    "temperature", "top_p", "top_k", "min_p", "max_tokens", "max_completion_tokens", "max_output_tokens", "min_tokens",
    "seed", "stop", "stop_token_ids", "presence_penalty", "frequency_penalty", "repetition_penalty", "n", "best_of",
    "ignore_eos", "reasoning_effort", "chat_template_kwargs", "tool_choice", "parallel_tool_calls",
)  # fmt: skip


def choice_id(completion_id: str, index: int, choices: int) -> str:
    """Returns the completion id of one of several choices; of a single one it is the id of the answer."""
    return completion_id if choices == 1 else f"{completion_id}-{index}"


def sampling_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a request that are stored with the completion."""
    return {name: body[name] for name in SAMPLING if body.get(name) is not None}


def prompts_in(prompt: Any) -> int:
    """Returns the number of prompts: a list holds several texts, several lists of token ids, or one prompt's ids."""
    if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
        return len(prompt)
    return 1
