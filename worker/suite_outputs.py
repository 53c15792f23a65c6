"""Writes what a model in a folder answers to the prompts of suites: `python -m worker.suite_outputs`.

    stdin   one JSON document: folder, adapter or null, temperature, max_tokens, seed or null, prompts (texts and chats)
    stdout  JSON lines: {"ready": true} once the model is loaded, then in any order for each prompt
            {"index", "text", "cut_off"} or {"index", "missing"}, where `missing` is the reason

Prompts are rendered as training renders them: by the chat template if the model has one; a text stays a text if it has
none. Exit codes: 0 done, 2 refused with one line on stderr; any other is a crash.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from worker.training.machine.process import DONE, REFUSED, TrainingRefusal, first_line, prepare_environment

#: Prompts that are answered together.
BATCH = 16
#: The parameters of refusals and the options that they are here.
OPTIONS = {"base_model: ": "--folder: ", "reference: ": "--adapter: "}


class Unanswerable(Exception):
    """The model cannot be given this prompt; the text is the reason."""


def main(request: dict[str, Any], answers: TextIO) -> int:
    prepare_environment()
    try:
        for answer in _answers(request):
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
    except TrainingRefusal as refusal:
        message = refusal.message
        for name, option in OPTIONS.items():
            message = option + message.removeprefix(name) if message.startswith(name) else message
        sys.stderr.write(" ".join(message.split()) + "\n")
        return REFUSED
    return DONE


def _answers(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    from worker.training.files import model_folders

    folder = Path(request["folder"])
    model_folders.require_config(folder)

    import torch

    from worker.training.models import adapters, policy

    tokens = policy.load_tokens(folder)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    low = device.type == "cuda" and torch.cuda.is_bf16_supported()
    adapter = None if request["adapter"] is None else Path(request["adapter"])
    if adapter is not None:
        adapters.require_same_tokenizer(adapter, folder)
    model = policy.load_weights(folder, torch.bfloat16 if low else torch.float32, device)
    if adapter is not None:
        model = adapters.load_adapter(model, adapter)
    context = policy.context_length(folder) or sys.maxsize
    if request["seed"] is not None:
        torch.manual_seed(request["seed"])
    yield {"ready": True}
    rendered: list[tuple[int, list[int]]] = []
    for index, prompt in enumerate(request["prompts"]):
        try:
            rendered.append((index, _ids(tokens, prompt, context)))
        except Unanswerable as reason:
            yield {"index": index, "missing": str(reason)}
    rendered.sort(key=lambda item: len(item[1]))
    for start in range(0, len(rendered), BATCH):
        batch = rendered[start : start + BATCH]
        room = context - max(len(ids) for _, ids in batch)
        most = min(request["max_tokens"], room)
        completions = _completions(model, tokens, [ids for _, ids in batch], most, request["temperature"])
        for (index, _), (text, cut_off) in zip(batch, completions, strict=True):
            yield {"index": index, "text": text, "cut_off": cut_off}


def _ids(tokens: Any, prompt: Any, context: int) -> list[int]:
    """Returns the tokens of a prompt as the answer follows them. Raises `Unanswerable`."""
    tokenizer = tokens.tokenizer
    if not tokenizer.chat_template:
        if not isinstance(prompt, str):
            raise Unanswerable("the prompt is a chat, and the model has no chat template")
        ids = tokenizer(prompt)["input_ids"]
    else:
        chat = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        continues = chat[-1]["role"] == "assistant"
        try:
            text = tokenizer.apply_chat_template(
                chat, tokenize=False, add_generation_prompt=not continues, continue_final_message=continues
            )
        except Exception as error:  # noqa: BLE001 - templates are programs and raise what they like
            raise Unanswerable(f"the chat template fails: {first_line(error)}") from None
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    ids = ids or [tokens.start]
    if len(ids) >= context:
        raise Unanswerable(f"the prompt has {len(ids):,} tokens, and the model reads {context:,} at most")
    return list(ids)


def _completions(
    model: Any, tokens: Any, prompts: Sequence[list[int]], most: int, temperature: float
) -> Iterator[tuple[str, bool]]:
    """Yields the text after each prompt, and whether it ended because it reached the limit of tokens."""
    import torch
    from transformers import GenerationConfig

    longest = max(map(len, prompts))
    padded = [[tokens.end] * (longest - len(ids)) + ids for ids in prompts]
    mask = [[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts]
    how = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    config = GenerationConfig(
        max_new_tokens=most, eos_token_id=list(tokens.ends), pad_token_id=tokens.end, use_cache=True, **how
    )
    device = next(model.parameters()).device
    with torch.inference_mode():
        written = model.generate(
            input_ids=torch.tensor(padded, device=device),
            attention_mask=torch.tensor(mask, device=device),
            generation_config=config,
        )
    for completion in written[:, longest:].tolist():
        end = next((place for place, token in enumerate(completion) if token in tokens.ends), None)
        yield tokens.tokenizer.decode(completion[:end], skip_special_tokens=True), end is None


if __name__ == "__main__":
    lines, sys.stdout = sys.stdout, sys.stderr  # whatever libraries print is no answer
    sys.exit(main(json.load(sys.stdin), lines))
