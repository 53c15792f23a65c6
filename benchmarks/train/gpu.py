"""What the GPU benchmark adds: the rate of a large matrix product, and how a token's cost grows with the length."""

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
    """FLOPs a second of a bfloat16 product of 8192 × 8192 matrices, the median of 20. On CPU: float32, 512 × 512."""
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
    """Seconds per token of our steps at two completion lengths, with as many tokens a step; prompts are half as long as
    the short completions. `folder` holds the base model.
    """
    base = _reading_words(folder, configuration.shape.vocabulary)
    prompt, rows = short // 2, 4
    found: dict[int, float] = {}
    for length in (short, long):
        count = round(rows * (prompt + long) / (prompt + length))
        effort = Effort(count, 1, warm_up=2, passes=5, seconds=20)
        chats = of_length(count, prompt, length, configuration.shape.vocabulary)
        changed = replace(configuration, effort=effort)
        # A row is as long as it was meant to be: nothing is cut.
        room = prompt + long + 1
        lane = ours(folder / f"length-{length}", base, chats, changed, name=str(length), max_length=room)
        timed, _ = race([lane], effort)
        found[length] = median(timed[str(length)].seconds) / (count * (prompt + length))
    return {"lengths": [short, long], "seconds_per_token": list(found.values()), "ratio": found[long] / found[short]}


def _reading_words(folder: Path, vocabulary: int) -> Path:
    """The base model of `folder` with a tokenizer that reads single words."""
    base = folder / "base-of-words"
    base.mkdir()
    for path in (folder / "base").iterdir():
        if path.name == "config.json" or "safetensors" in path.name:
            (base / path.name).symlink_to(path)
    word_tokenizer(vocabulary).save_pretrained(base)
    return base
