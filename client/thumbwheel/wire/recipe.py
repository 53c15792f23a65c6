"""The recipe: every number that decides what is learnt, in one place.

Pure: values in, values out. Defaults and ranges are those of the KTO paper (arXiv 2402.01306), of its authors' code
and of TRL's documentation; each field says its reason. A recipe as a user writes it may hold ``auto``;
`recipe_resolution.resolve` replaces each ``auto`` by a number, and the resolved recipe is what a run stores.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from thumbwheel.wire.recipe_sections import Drift, Evaluation, LabelTerm, Lora, Section

Auto = Literal["auto"]
WeighUp = Literal["either", "desirable"]
ObjectiveName = Literal[
    "kto", "apo_zero_unpaired", "bco", "ppo_clip", "tkto", "mo_kto", "sft", "dpo", "ipo", "slic", "simpo", "orpo"
]  # fmt: skip

#: What pairs are learnt from; each one has those of the ones before it, too.
PairsFrom = Literal["compared", "compared_and_edits", "derived"]
#: Where pairs come from, by what the recipe says.
PAIR_SOURCES: Mapping[PairsFrom, frozenset[str]] = {
    "compared": frozenset({"compared"}),
    "compared_and_edits": frozenset({"compared", "edit"}),
    "derived": frozenset({"compared", "edit", "derived"}),
}
#: Objectives that compare two completions of one prompt; a micro-batch holds whole pairs, two rows each.
PAIRED: frozenset[ObjectiveName] = frozenset({"dpo", "ipo", "slic", "simpo", "orpo"})
#: Objectives without one weight per class. mo_kto has weights of its own for each of its labels.
WITHOUT_LAMBDA: frozenset[ObjectiveName] = PAIRED | {"sft", "mo_kto"}


class RecipeFields(Section):
    """The fields of a recipe, each for itself. Ranges shut out what cannot work; where what is useful is narrower, the
    description says so.
    """

    method: Literal["lora", "full"] = Field("lora", description="low-rank adapter, or every weight")
    objective: ObjectiveName = Field("kto", description="what is minimised; formulas in worker/training/objectives")
    beta: float = Field(
        0.1,
        gt=0,
        le=10,
        description="strength of the pull to the reference; useful between 0.01 and 0.5, for simpo 2 to 2.5; for orpo "
        "the weight of the odds ratio",
    )
    pairs: PairsFrom = Field(
        "compared_and_edits",
        description="dpo, ipo, slic, simpo, orpo: compared: what people compared; compared_and_edits: also texts that "
        "they wrote, over what they replaced; derived: also desirable over undesirable completions of one prompt that "
        "nobody compared",
    )
    simpo_gamma: float = Field(0.5, ge=0, le=10, description="simpo: margin that the chosen completion must lead by")
    clip_range: float = Field(0.2, gt=0, lt=1, description="ppo_clip: ratios beyond 1 ± clip_range give no gradient")
    labels: tuple[LabelTerm, ...] = Field((), description="mo_kto: the labels that are learnt together")
    learning_rate: Annotated[float, Field(gt=0, lt=1)] | Auto = Field(
        "auto", description="auto: 1e-6 for full fine-tuning, 1e-5 for LoRA; lower it when beta is low"
    )
    schedule: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="how the learning rate goes after the warm-up: to 0 in a line or a cosine, or not down"
    )
    warmup_share: float = Field(0.1, ge=0, lt=1, description="share of the steps with a rising learning rate")
    weight_decay: float = Field(
        0.0, ge=0, le=1, description="AdamW's pull of the weights to 0; the pull to the reference is beta's"
    )
    adam_beta1: float = Field(0.9, ge=0, lt=1, description="AdamW: share of the gradient's running mean that is kept")
    adam_beta2: float = Field(0.999, ge=0, lt=1, description="AdamW: share of its running square that is kept")
    adam_epsilon: float = Field(1e-8, gt=0, description="AdamW: keeps the division by the square's root finite")
    max_gradient_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm")
    batch_size: int = Field(32, ge=2, le=4096, description="rows of one optimizer step; a pair is two rows")
    micro_batch_size: Annotated[int, Field(ge=2, le=1024)] | Auto = Field(
        8,
        description="rows of one forward; z0 is estimated inside it, too noisy below 4; auto: the most that fit into "
        "memory, measured before the first step",
    )
    epochs: int = Field(
        1, ge=1, le=100, description="passes over the data; prefer more epochs to a higher learning rate"
    )
    max_steps: int | None = Field(None, ge=1, description="stop after this many optimizer steps")
    max_tokens: int | None = Field(
        None,
        ge=1,
        le=2**53,
        description="stop before the optimizer step with which more tokens would have been trained on, prompts and "
        "completions together; a row counts in every epoch",
    )
    prompt_share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="learn only from the rows of this share of the training prompts; they are the same ones for every "
        "objective and seed, and a larger share adds to them",
    )
    balance: Literal["weights", "batch"] = Field(
        "weights", description="weights: lambda makes up for the rarer class; batch: half of each step is of each class"
    )
    lambda_desirable: Annotated[float, Field(gt=0, le=1000)] | Auto = Field(
        "auto",
        description="weight of the desirable class; auto: all its rows together weigh at least 1 to 4/3 times as much "
        "as the undesirable ones, far below that training collapses",
    )
    lambda_undesirable: Annotated[float, Field(gt=0, le=1000)] | Auto = Field(
        "auto", description="weight of the undesirable class; auto: as for the desirable one"
    )
    weigh_up: WeighUp = Field(
        "desirable",
        description="the class that a lambda of auto weighs up where it is the rarer one; desirable: where undesirable "
        "rows are the rarer ones, a row of either class weighs the same, as many of the few are mistakes of the voters",
    )
    behaviour_correction: bool = Field(
        default=False,
        description="weigh each row by how much more, or less, probable the reference writes its completion than the "
        "model that served it did, per token, between 0.2 and 5; each class keeps its weight; for rows whose "
        "completion was registered with log-probs. Refused if the rows are then worth less than a tenth of as many "
        "equal ones",
    )
    edit_kept_weight: float = Field(
        1.0,
        ge=0,
        le=1,
        description="tkto: weight of the tokens that a user's edit kept of an undesirable completion; those that it "
        "changed weigh 1. 1: all of the completion is undesirable",
    )
    mislabelled_good: float = Field(
        0.0,
        ge=0,
        lt=0.5,
        description="kto: share of the good completions with an undesirable label, which the loss is corrected for; an "
        "audit of labels measures it",
    )
    mislabelled_bad: float = Field(
        0.0,
        ge=0,
        lt=0.5,
        description="kto: share of the bad completions with a desirable label, which the loss is corrected for; an "
        "audit of labels measures it",
    )
    lora: Lora = Lora()
    max_length: int = Field(1024, ge=8, le=1_000_000, description="tokens of prompt and completion together")
    packing: Literal["auto", "off"] = Field(
        "auto",
        description="auto: rows one after another without padding, prompts read once, where the model's attention says "
        "the same so (tried at the start); off: padded rows",
    )
    activation_checkpointing: Literal["auto", "on", "off"] = Field(
        "auto",
        description="on: activations are computed twice rather than kept: less memory, a third more time; auto: only "
        "where memory asks for it, which is looked at with a micro_batch_size of auto",
    )
    compile: bool = Field(
        default=False,
        description="compile the model's layers when a run starts: it takes a minute or so and pays in long runs if at "
        "all; on CPUs nothing was won",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 on a GPU that has it, else float32"
    )
    seed: int = Field(42, ge=0, lt=2**31, description="of the plan of blocks, their order, new adapters and samples")
    save_every_steps: int = Field(50, ge=1, description="optimizer steps between two training checkpoints")
    save_every_minutes: float = Field(
        10, gt=0, le=1440, description="minutes after which one is saved though fewer steps were taken"
    )
    drift: Drift = Drift()
    evaluation: Evaluation = Evaluation()


class Recipe(RecipeFields):
    """A whole recipe, whose fields fit each other."""

    @model_validator(mode="after")
    def _batches_divide(self) -> Self:
        if self.micro_batch_size != "auto" and self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"batch_size {self.batch_size} is no multiple of micro_batch_size {self.micro_batch_size}: "
                f"set micro_batch_size to a divisor of {self.batch_size}, at least 4"
            )
        for name in ("batch_size", "micro_batch_size"):
            size = getattr(self, name)
            if self.objective in PAIRED and size != "auto" and size % 2:
                raise ValueError(
                    f"{name} {size} is odd, {self.objective} takes pairs of rows: set {name} to {size + 1}"
                )
        return self

    @model_validator(mode="after")
    def _settings_belong_to_the_objective(self) -> Self:
        if self.objective == "mo_kto" and not self.labels:
            raise ValueError("labels is empty, mo_kto learns several labels together: name at least one in labels")
        names = [label.name for label in self.labels]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"labels names {twice} twice: give each label one weight")
        if self.labels and self.objective != "mo_kto":
            raise ValueError(f"labels is for mo_kto alone, objective is {self.objective}: remove labels")
        if self.behaviour_correction and self.objective in PAIRED | {"sft"}:
            raise ValueError(
                f"behaviour_correction weighs rows of two classes, {self.objective} has none: set it to false"
            )
        if self.edit_kept_weight != 1 and self.objective != "tkto":
            raise ValueError(
                f"edit_kept_weight weighs tokens, {self.objective} weighs whole rows: set objective to tkto, or "
                "edit_kept_weight to 1"
            )
        for name in ("mislabelled_good", "mislabelled_bad"):
            if getattr(self, name) and self.objective != "kto":
                raise ValueError(f"{name} corrects kto's loss alone, objective is {self.objective}: set it to 0")
        if self.objective in WITHOUT_LAMBDA:
            for name in ("lambda_desirable", "lambda_undesirable"):
                if getattr(self, name) not in ("auto", 1.0):
                    raise ValueError(
                        f"{name} has no meaning for {self.objective}, which weighs no classes: leave it out"
                    )
            if self.balance == "batch":
                raise ValueError(f"balance batch has no meaning for {self.objective}: set balance to weights")
        return self

    @property
    def resolved(self) -> bool:
        """Returns whether no `auto` is left that the rows decide. The trainer measures a micro-batch of auto."""
        return "auto" not in (self.learning_rate, self.lambda_desirable, self.lambda_undesirable)


PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Models of a million parameters learn nothing at the rates of large ones. At a beta of 0.1 they fall apart: the
    # pull on a bad reply fades out only dozens of nats later (docs/lab-notes.md, 2026-11-21).
    "cpu-demo": {
        "method": "full", "beta": 0.5, "learning_rate": 3e-4, "batch_size": 32, "micro_batch_size": 16, "epochs": 2,
        "max_length": 256, "schedule": "cosine", "save_every_steps": 25,
    },
    "lora-small": {"method": "lora", "batch_size": 32, "micro_batch_size": 8, "max_length": 1024},
    "lora-8b": {"method": "lora", "batch_size": 32, "micro_batch_size": "auto", "max_length": 2048},
    "full": {"method": "full", "batch_size": 32, "micro_batch_size": "auto", "max_length": 2048},
}  # fmt: skip


def recipe_of(preset: str, changes: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe of `preset` with `changes` laid over it. Raises pydantic's ValidationError, KeyError on the preset."""
    return Recipe.model_validate({**PRESETS[preset], **(changes or {})})
