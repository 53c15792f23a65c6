"""A base model with random weights, as a folder that both trainers load."""

from pathlib import Path
from typing import Any

import torch
import transformers

from benchmarks.train.configurations import Shape


def save_base(folder: Path, shape: Shape, tokenizer: Any) -> int:
    """Saves the model in `folder` and returns the number of its parameters."""
    transformers.utils.logging.disable_progress_bar()
    on_gpu = torch.cuda.is_available()
    torch.manual_seed(0)
    # Large models are stored in bfloat16, as they are published.
    with torch.device("cuda" if on_gpu else "cpu"):
        model = transformers.AutoModelForCausalLM.from_config(
            config_of(shape, tokenizer), dtype=torch.bfloat16 if on_gpu else torch.float32
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return sum(weight.numel() for weight in model.parameters())


def config_of(shape: Shape, tokenizer: Any) -> Any:
    kind = {"llama": transformers.LlamaConfig, "qwen2": transformers.Qwen2Config}[shape.family]
    return kind(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=shape.positions,
        tie_word_embeddings=shape.tied,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
    )
