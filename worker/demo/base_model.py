"""Trains the story's base model: a 4-layer Llama of under a million parameters, in under a minute on a CPU.

It learns from replies of mixed quality (`language.typical_reply`), so it is fluent, but good in fewer than half of its
replies, like the model of a company that has not used its feedback yet. The result is a plain transformers folder:
weights, tokenizer, generation config.

``python -m worker.demo.base_model FOLDER`` makes one for experiments.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import sqrt
from pathlib import Path
from random import Random

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from app.durable import folder_atomically
from worker.demo import language, muon, phrases
from worker.demo.muon import Muon

UNKNOWN, PAD, END = "<unk>", "<pad>", "<eos>"
STEPS = 240
BATCH_SIZE = 32
MATRIX_LEARNING_RATE = 0.02
LEARNING_RATE = 6e-3
WARMUP_STEPS = 10
MAX_NEW_TOKENS = 48
#: Rows of one pool; batches are cut from a pool sorted by length, so hardly anything is padding.
POOL_SIZE = BATCH_SIZE * 40

Progress = Callable[[int, int, float], None]  # step, steps, loss of the step in nats per token


@dataclass(frozen=True)
class Shape:
    """The size of a base model. The defaults are those of the story's."""

    layers: int = 4
    width: int = 128
    heads: int = 4
    inner_width: int = 352


STORY_SHAPE = Shape()


def unwatched(step: int, steps: int, loss: float) -> None:
    """Ignores the progress."""


def base_model(cache: Path, seed: int, progress: Progress = unwatched) -> Path:
    """Returns the folder of the base model of `seed` under `cache`; trains it if this code has not done so before."""
    folder = cache / f"base-{seed}-{_code_hash()[:12]}"
    if not (folder / "config.json").exists():
        unfinished = folder.with_suffix(f".{os.getpid()}")
        unfinished.mkdir(parents=True)  # a folder that cannot be written fails now, not after the training
        try:
            train_base_model(unfinished, seed, progress)
            if not folder.exists():  # another process may have made the same one meanwhile
                unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def train_base_model(
    folder: Path, seed: int, progress: Progress = unwatched, steps: int = STEPS, shape: Shape = STORY_SHAPE
) -> None:
    """Trains a model from scratch on `steps` batches of fresh tickets and saves it to `folder`.

    The same seed and number of threads give the same weights on a CPU.
    """
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = desk_tokenizer()
    model = LlamaForCausalLM(_architecture(tokenizer, shape)).to(device)
    optimizers = _optimizers(model)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimizer, partial(_warm_up_then_fall, steps)) for optimizer in optimizers
    ]
    batches = _batches(tokenizer, Random(seed))
    for step in range(1, steps + 1):
        ids_BT, targets_BT = (tensor.to(device) for tensor in next(batches))
        logits_BTV = model(input_ids=ids_BT, use_cache=False).logits
        loss = cross_entropy(logits_BTV[:, :-1].flatten(0, 1), targets_BT[:, 1:].flatten(), ignore_index=-100)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
        model.zero_grad(set_to_none=True)
        progress(step, steps, loss.item())
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=1.0, max_new_tokens=MAX_NEW_TOKENS,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    with folder_atomically(folder) as unfinished:
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)


def desk_tokenizer() -> PreTrainedTokenizerFast:
    """Returns a tokenizer of whole words, each with the space before it; decoding restores the text exactly."""
    pieces: set[str] = set()
    split = pre_tokenizers.Split(Regex(r"\n| ?[A-Za-z]+| ?[0-9]+| ?[^A-Za-z0-9\s]| "), behavior="isolated")
    for text in _every_sentence():
        pieces.update(piece for piece, _ in split.pre_tokenize_str(text))
    vocabulary = {piece: index for index, piece in enumerate([UNKNOWN, PAD, END, *sorted(pieces)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token=UNKNOWN, pad_token=PAD, eos_token=END, padding_side="left",
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


def _architecture(tokenizer: PreTrainedTokenizerFast, shape: Shape) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=shape.width, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, num_key_value_heads=shape.heads, intermediate_size=shape.inner_width,
        max_position_embeddings=256, tie_word_embeddings=True,
        # About 1/sqrt(width); with the usual 0.02 it needs hundreds more steps to learn to copy.
        initializer_range=0.08 * sqrt(STORY_SHAPE.width / shape.width),
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip


def _optimizers(model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    """Returns Muon for the matrices and AdamW for embeddings and norms.

    They need half as many steps to the same loss as AdamW alone.
    """
    inner = [weight for name, weight in model.named_parameters() if weight.ndim == 2 and "embed" not in name]
    outer = [weight for name, weight in model.named_parameters() if weight.ndim != 2 or "embed" in name]
    return [
        Muon(inner, lr=MATRIX_LEARNING_RATE),
        torch.optim.AdamW(outer, lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _warm_up_then_fall(steps: int, step: int) -> float:
    return min((step + 1) / WARMUP_STEPS, 1 - step / steps)


def _batches(tokenizer: PreTrainedTokenizerFast, rng: Random) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yields token ids and targets, both [B, T], padded on the right; targets of ticket and padding are -100."""
    while True:
        tickets = [language.new_ticket(rng) for _ in range(POOL_SIZE)]
        prompts = tokenizer([ticket.prompt for ticket in tickets])["input_ids"]
        replies = tokenizer([language.typical_reply(ticket, rng) for ticket in tickets])["input_ids"]
        rows = sorted(
            ((prompt, [*reply, tokenizer.eos_token_id]) for prompt, reply in zip(prompts, replies, strict=True)),
            key=lambda row: len(row[0]) + len(row[1]),
        )
        starts = list(range(0, POOL_SIZE, BATCH_SIZE))
        rng.shuffle(starts)
        for start in starts:
            yield _padded(rows[start : start + BATCH_SIZE], tokenizer.pad_token_id)


def _padded(rows: list[tuple[list[int], list[int]]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(prompt) + len(reply) for prompt, reply in rows)
    ids, targets = [], []
    for prompt, reply in rows:
        gap = longest - len(prompt) - len(reply)
        ids.append([*prompt, *reply, *[pad] * gap])
        targets.append([*[-100] * len(prompt), *reply, *[-100] * gap])
    return torch.tensor(ids), torch.tensor(targets)


def _every_sentence() -> Iterator[str]:
    """Yields texts with each word of the support desk in each possible position: after a space, or first in a line."""
    for situation in phrases.SITUATIONS:
        for wish in phrases.WISHES:
            for mood in phrases.MOODS:
                yield language.Ticket("1010", "kettle", situation, wish, mood).prompt
    for text in _reply_sentences():
        for item in phrases.ITEMS:
            yield text.format(n="1010", item=item)
            yield " " + text.format(n="1010", item=item)
    for number in phrases.ORDER_NUMBERS:
        yield f" {number}"
    for item in phrases.ITEMS:
        yield f" {item}"


def _reply_sentences() -> Iterator[str]:
    for texts in phrases.PROMISES.values():
        yield from texts
    yield from phrases.DETAILS.values()
    yield from (*phrases.POLITE_OPENINGS, *phrases.POLITE_CLOSINGS, *phrases.RUDE, *phrases.EVASIVE)


def _code_hash() -> str:
    """Returns a SHA-256 of this file and of those that it needs: a change of any makes another base model."""
    files = [Path(str(module.__file__)) for module in (language, muon, phrases)] + [Path(__file__)]
    parts = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m worker.demo.base_model", description="Make the demo's base model.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--steps", type=int, default=STEPS, help="fewer make a worse model, sooner (default %(default)s)"
    )
    options = parser.parse_args()
    if options.folder.exists():
        sys.stderr.write(f"{options.folder} exists already: name another folder, or remove it\n")
        return 2
    train_base_model(options.folder, options.seed, steps=options.steps)
    sys.stdout.write(f"{options.folder} holds a base model now\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
