"""The recipe of the study, and the others of its sweep, as changes of the preset `cpu-demo`."""

from collections.abc import Mapping
from typing import Any

#: What all of them have: half of each step is of the rarer class, and nothing is sampled.
COMMON: dict[str, Any] = {
    "batch_size": 32, "micro_batch_size": 16, "max_length": 256, "balance": "batch", "beta": 0.1, "max_steps": 300,
    "drift": {"checks": 0}, "evaluation": {"kl_prompts": 0, "replay": 0, "bootstrap": 200},
}  # fmt: skip
LORA: dict[str, Any] = {"method": "lora", "lora": {"rank": 8, "alpha": 16}, "learning_rate": 3e-3}

CHOSEN = "kto"
RECIPES: Mapping[str, Mapping[str, Any]] = {
    CHOSEN: {**COMMON, **LORA},
    "kto-faster": {**COMMON, **LORA, "lora": {"rank": 16, "alpha": 32}, "learning_rate": 1e-2},
    "kto-full": {**COMMON, "method": "full", "learning_rate": 1e-3},
    "bco": {**COMMON, **LORA, "objective": "bco"},
    "kto-100-steps": {**COMMON, **LORA, "max_steps": 100},
    "kto-900-steps": {**COMMON, **LORA, "max_steps": 900},
}
