"""A base model of the chats' language: a Llama of about a million parameters, trained on them without any label."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from app.durable import folder_atomically
from worker.demo.base_model import LEARNING_RATE, MATRIX_LEARNING_RATE, Progress, unwatched
from worker.demo.muon import Muon

PAD, USER, ASSISTANT, END = "<pad>", "<|user|>", "<|assistant|>", "<|end|>"
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
VOCABULARY = 2000
LAYERS, WIDTH, HEADS, INNER_WIDTH = 2, 128, 4, 352
#: Messages of a window: as many as a rated message has before it, and itself.
MESSAGES = 6
LONGEST = 256
BATCH_TOKENS = 6_000
WARMUP_STEPS = 20


def train_base_model(
    folder: Path, conversations: Sequence[Sequence[str]], seed: int, epochs: int, progress: Progress = unwatched
) -> float:
    """Trains a tokenizer and a model on `conversations`, saves them, and returns the last loss in nats a token."""
    torch.manual_seed(seed)
    rng = Random(seed)
    tokenizer = _tokenizer(text for conversation in conversations for text in conversation)
    model = LlamaForCausalLM(_architecture(tokenizer))
    inner = [weight for name, weight in model.named_parameters() if weight.ndim == 2 and "embed" not in name]
    outer = [weight for name, weight in model.named_parameters() if weight.ndim != 2 or "embed" in name]
    optimizers = [
        Muon(inner, lr=MATRIX_LEARNING_RATE),
        torch.optim.AdamW(outer, lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    encoded = [tokenizer(list(conversation), add_special_tokens=False)["input_ids"] for conversation in conversations]
    batches = [batch for _ in range(epochs) for batch in _batches(encoded, tokenizer, rng)]
    mean = 0.0
    for step, (ids_BT, targets_BT) in enumerate(batches, start=1):
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * min(step / WARMUP_STEPS, 1 - (step - 1) / len(batches))
        logits_BTV = model(input_ids=ids_BT, use_cache=False).logits
        loss = cross_entropy(logits_BTV[:, :-1].flatten(0, 1), targets_BT[:, 1:].flatten(), ignore_index=-100)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        model.zero_grad(set_to_none=True)
        mean = 0.98 * mean + 0.02 * loss.item() if step > 1 else loss.item()
        progress(step, len(batches), loss.item())
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=1.0, max_new_tokens=64,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    with folder_atomically(folder) as unfinished:
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
    return mean


def _tokenizer(texts: Iterator[str]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[PAD, USER, ASSISTANT, END], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, additional_special_tokens=[USER, ASSISTANT],
        padding_side="left", clean_up_tokenization_spaces=False,
    )  # fmt: skip
    fast.chat_template = TEMPLATE
    return fast


def _architecture(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        num_key_value_heads=HEADS, intermediate_size=INNER_WIDTH, max_position_embeddings=512,
        tie_word_embeddings=True, initializer_range=0.05,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip


def _batches(
    encoded: Sequence[Sequence[Sequence[int]]], tokenizer: PreTrainedTokenizerFast, rng: Random
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Returns the batches of an epoch: every message once, in a window that begins anywhere, its author at random."""
    roles = tokenizer.convert_tokens_to_ids([USER, ASSISTANT])
    windows = []
    for conversation in encoded:
        start, turned = -rng.randrange(MESSAGES), rng.randrange(2)
        while start < len(conversation):
            window: list[int] = []
            for turn in range(max(start, 0), min(start + MESSAGES, len(conversation))):
                window += [roles[(turn + turned) % 2], *conversation[turn], tokenizer.eos_token_id]
            windows.append(window[:LONGEST])
            start += MESSAGES
    windows.sort(key=lambda window: len(window) + rng.random())
    batches: list[list[list[int]]] = [[]]
    for window in windows:
        if batches[-1] and len(window) * (len(batches[-1]) + 1) > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(window)
    rng.shuffle(batches)
    return [_padded(batch, tokenizer.pad_token_id) for batch in batches]


def _padded(windows: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(map(len, windows))
    ids = torch.tensor([[*window, *[pad] * (longest - len(window))] for window in windows])
    targets = torch.tensor([[*window, *[-100] * (longest - len(window))] for window in windows])
    return ids, targets
