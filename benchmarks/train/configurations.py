"""The measured configurations: model shapes, precisions, methods. Tied weights count once as parameters of a shape.

Small shapes are scaled-down Llama and Qwen2 models with random weights; m60 has the real vocabulary of GPT-2, the
smaller ones fold the token ids into a vocabulary that fits their size. Large shapes are those of published models.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, get_args

Precision = Literal["float32", "bf16"]
Method = Literal["full", "lora"]


@dataclass(frozen=True)
class Shape:
    family: Literal["llama", "qwen2"]
    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    tied: bool
    positions: int = 8_192

    @property
    def body(self) -> int:
        """Weights of the linear layers between embedding and head."""
        width = self.hidden // self.heads
        attention = 2 * self.hidden * width * (self.heads + self.key_value_heads)
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def head(self) -> int:
        return self.hidden * self.vocabulary

    @property
    def parameters(self) -> int:
        """The number of weights without norms and biases, which are less than a thousandth."""
        return self.body + self.head * (1 if self.tied else 2)


SHAPES: Mapping[str, Shape] = {
    "toy": Shape("llama", 64, 16, 32, 2, 4, 2, tied=False),
    "m2": Shape("llama", 2_048, 192, 512, 4, 4, 2, tied=False),  # 2.4 M
    "m15": Shape("llama", 8_192, 384, 1_024, 6, 6, 2, tied=False),  # 15.7 M
    "m60": Shape("qwen2", 50_257, 512, 1_408, 12, 8, 2, tied=True),  # 59.5 M
    # https://huggingface.co/Qwen/Qwen2.5-0.5B, Qwen2.5-1.5B, meta-llama/Meta-Llama-3-8B: config.json
    "g05": Shape("qwen2", 151_936, 896, 4_864, 24, 14, 2, tied=True),
    "g15": Shape("qwen2", 151_936, 1_536, 8_960, 28, 12, 2, tied=True),
    "g8": Shape("llama", 128_256, 4_096, 14_336, 32, 32, 8, tied=False),
}
LANES = ("trl", "ours_same", "trl_precomputed", "trl_best", "ours")
CPU = ("m2_float32_full", "m2_bf16_full", "m15_float32_full", "m15_bf16_lora", "m60_float32_full", "m60_bf16_lora")
GPU = ("g05_bf16_lora", "g15_bf16_lora", "g8_bf16_lora")


@dataclass(frozen=True)
class Effort:
    """The amount of measurement: rows, steps, epochs, time."""

    rows_per_step: int  # in the only micro-batch of an optimizer step
    blocks: int  # optimizer steps per epoch
    warm_up: int = 3  # steps before any is timed; their losses are compared
    passes: int = 1  # timed epochs at most; at least one
    seconds: float = 60.0  # no further epoch begins if it would end later
    lanes: tuple[str, ...] = LANES

    @property
    def rows(self) -> int:
        return self.rows_per_step * self.blocks


EFFORTS: Mapping[str, Effort] = {
    "toy": Effort(4, 4, warm_up=2),
    "m2": Effort(8, 12, passes=4),
    "m15": Effort(8, 4, warm_up=2, passes=4),
    "m60": Effort(4, 4, warm_up=1, passes=2),
    "g05": Effort(32, 8, passes=4, seconds=30),
    "g15": Effort(32, 8, passes=2, seconds=30),
    "g8": Effort(32, 4, warm_up=2, seconds=30, lanes=("trl", "ours_same")),
}
#: The effort of `QUICK=1` and `ONLY=…`, which take three minutes: they also leave out TRL's lane of sorted rows and a
#: quarter of the rows in a step.
PART: Mapping[str, Any] = {"blocks": 2, "warm_up": 1, "passes": 3, "seconds": 30.0}


@dataclass(frozen=True)
class Configuration:
    shape_name: str
    precision: Precision
    method: Method
    effort: Effort

    @property
    def name(self) -> str:
        return f"{self.shape_name}_{self.precision}_{self.method}"

    @property
    def shape(self) -> Shape:
        return SHAPES[self.shape_name]

    @property
    def weight_bytes(self) -> int:
        """The size of one copy of the base model. Frozen weights have the precision of the computation."""
        low = self.precision == "bf16" and self.method == "lora"
        return self.shape.parameters * (2 if low else 4)

    @property
    def tolerance(self) -> float:
        """The largest relative difference of the losses of one step that rounding explains."""
        return 1e-5 if self.precision == "float32" else 1e-2

    @classmethod
    def of(cls, name: str, *, part: bool = False) -> Self:
        """Returns the configuration of this name. Raises ValueError, with a message for the user, if there is none."""
        parts = name.split("_")
        for precision in get_args(Precision):
            for method in get_args(Method):
                if parts[0] in SHAPES and parts[1:] == [precision, method]:
                    effort = EFFORTS[parts[0]]
                    if part:
                        lanes = tuple(lane for lane in effort.lanes if lane != "trl_best")
                        effort = replace(effort, rows_per_step=effort.rows_per_step * 3 // 4, lanes=lanes, **PART)
                    return cls(parts[0], precision, method, effort)
        raise ValueError(
            f"ONLY: there is no configuration {name}. Join a shape ({', '.join(SHAPES)}), float32 or bf16, and full or "
            "lora with underscores, as in m15_bf16_lora."
        )
