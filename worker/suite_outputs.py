"""Writes what a model in a folder answers to the prompts of suites: `python -m worker.suite_outputs`.

    stdin   one JSON document: folder, adapter or null, temperature, max_tokens, seed or null, prompts (texts and chats)
    stdout  JSON lines: {"ready": true} once the model is loaded, then in any order for each prompt
            {"index", "text", "cut_off"} or {"index", "missing"}, where `missing` is the reason

Prompts are rendered as training renders them: by the chat template if the model has one; a text stays a text if it has
none. Exit codes: 0 done, 2 refused with one line on stderr; any other is a crash.
"""

import json
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from thumbwheel.chat_messages import UnreadableMessage, normal_prompt
from thumbwheel.row_checks import REASONS

from worker.training.data.tool_marks import rendered_form
from worker.training.machine.process import DONE, REFUSED, TrainingRefusal, first_line, prepare_environment

if TYPE_CHECKING:
    from worker.training.data.tokens import Ids

#: Prompts that share a batch, and those whose answers are written before the next ones begin.
BATCH, WAVE = 16, 64
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

    from worker.generation.sampler import Request, Sampler
    from worker.generation.trial import way_of
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
    yield {"ready": True}
    rendered: list[tuple[int, Ids]] = []
    for index, prompt in enumerate(request["prompts"]):
        try:
            rendered.append((index, _ids(tokens, prompt, context)))
        except Unanswerable as reason:
            yield {"index": index, "missing": str(reason)}
    rendered.sort(key=lambda item: len(item[1]))
    seed = request["seed"] if request["seed"] is not None else secrets.randbits(32)
    sampler = Sampler(
        model, way_of(model, [ids for _, ids in rendered], room=context), tokens.ends, rows_at_once=BATCH, seed=seed
    )
    for start in range(0, len(rendered), WAVE):
        wave = rendered[start : start + WAVE]
        written = sampler.write(
            [
                Request(ids, request["temperature"], min(request["max_tokens"], context - len(ids)), index)
                for index, ids in wave
            ]
        )
        for (index, _), reply in zip(wave, written, strict=True):
            shown = reply.tokens[:-1] if reply.finished else reply.tokens
            text = tokens.tokenizer.decode(shown, skip_special_tokens=True)
            yield {"index": index, "text": text, "cut_off": not reply.finished}


def _ids(tokens: Any, prompt: Any, context: int) -> "Ids":
    """Returns the tokens of a prompt as the answer follows them. Raises `Unanswerable`."""
    tokenizer = tokens.tokenizer
    if not tokenizer.chat_template:
        if not isinstance(prompt, str):
            raise Unanswerable("the prompt is a chat, and the model has no chat template")
        ids = tokenizer(prompt)["input_ids"]
    else:
        sent = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        continues = sent[-1]["role"] == "assistant"
        try:
            chat = [rendered_form(message) for message in normal_prompt(sent)]
            text = tokenizer.apply_chat_template(
                chat, tokenize=False, add_generation_prompt=not continues, continue_final_message=continues
            )
        except UnreadableMessage as unreadable:
            raise Unanswerable(f"{REASONS[unreadable.reason].meaning} ({unreadable.detail})") from None
        except Exception as error:  # noqa: BLE001 - templates are programs and raise what they like
            raise Unanswerable(f"the chat template fails: {first_line(error)}") from None
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    ids = ids or [tokens.start]
    if len(ids) >= context:
        raise Unanswerable(f"the prompt has {len(ids):,} tokens, and the model reads {context:,} at most")
    return np.array(ids, dtype=np.int32)


if __name__ == "__main__":
    lines, sys.stdout = sys.stdout, sys.stderr  # whatever libraries print is no answer
    sys.exit(main(json.load(sys.stdin), lines))
