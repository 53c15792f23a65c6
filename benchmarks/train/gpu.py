"""Measures on a GPU: the rate of a large matrix product, and the growth of a token's cost with the length."""

from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch

from benchmarks.train.configurations import Configuration, Effort
from benchmarks.train.ours import ours
from benchmarks.train.race import race
from benchmarks.train.rows import of_length, word_tokenizer

PRODUCTS = 20


def ceiling() -> dict[str, Any]:
    """Returns the FLOPs per second of a product of 8192 × 8192 bfloat16 matrices (CPU: 512 × 512, float32), median."""
    on_gpu = torch.cuda.is_available()
    size, dtype, device = (8_192, torch.bfloat16, "cuda") if on_gpu else (512, torch.float32, "cpu")
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(PRODUCTS + 3):
        started = perf_counter()
        a @ b
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(perf_counter() - started)
    return {
        "gpu": torch.cuda.get_device_name() if on_gpu else None,
        "flops_per_second": 2 * size**3 / median(seconds[3:]),
    }


def growth(folder: Path, configuration: Configuration, short: int, long: int) -> dict[str, Any]:
    """Returns the seconds per token of our steps at two completion lengths, with equal tokens per step.

    Prompts are half as long as the short completions. `folder` has the base model.
    """
    base = _reading_words(folder, configuration.shape.vocabulary)
    prompt, rows = short // 2, 4
    seconds: dict[int, float] = {}
    for length in (short, long):
        count = round(rows * (prompt + long) / (prompt + length))
        effort = Effort(count, 1, warm_up=2, passes=5, seconds=20)
        chats = of_length(count, prompt, length, configuration.shape.vocabulary)
        changed = replace(configuration, effort=effort)
        # No row is cut.
        room = prompt + long + 1
        lane = ours(folder / f"length-{length}", base, chats, changed, name=str(length), max_length=room)
        timed, _ = race([lane], effort)
        seconds[length] = median(timed[str(length)].seconds) / (count * (prompt + length))
    return {
        "lengths": [short, long],
        "seconds_per_token": list(seconds.values()),
        "ratio": seconds[long] / seconds[short],
    }


def _reading_words(folder: Path, vocabulary: int) -> Path:
    """Creates a copy of the base model in `folder` with a tokenizer of single words, and returns its folder."""
    base = folder / "base-of-words"
    base.mkdir()
    for path in (folder / "base").iterdir():
        if path.name == "config.json" or "safetensors" in path.name:
            (base / path.name).symlink_to(path)
    word_tokenizer(vocabulary).save_pretrained(base)
    return base
