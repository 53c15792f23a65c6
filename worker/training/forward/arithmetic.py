"""The arithmetic of a forward pass."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[Any]:
    """Returns a context of bfloat16 arithmetic over float32 weights; for float32, one without effect."""
    if precision is torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=precision)
