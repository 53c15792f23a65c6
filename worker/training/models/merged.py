"""Merges an adapter into the weights under it, for servers that load whole models."""

from pathlib import Path

import torch

from worker.training.files import model_folders
from worker.training.models import adapters, lora, policy


def save_merged(base: Path, adapter: Path, folder: Path) -> None:
    """Writes the model with the adapter in it, in the precision of the base model, to which the sums are rounded.

    Raises `TrainingRefusal` if the adapter does not fit or a tensor would be lost.
    """
    model_folders.require_config(base)
    lora.require_mergeable(lora.read_config(adapter))
    model = policy.load_weights(base, policy.stored_precision(base), torch.device("cpu"))
    with lora.peft_quiet():
        merged = adapters.load_adapter(model, adapter).merge_and_unload(safe_merge=True)
    merged.save_pretrained(folder)
    policy.copy_files_beside_weights(base, folder)
