"""The gates: the conditions on the evaluation of a checkpoint before it may ship."""

from pydantic import Field

from thumbwheel.wire.values import Body, Name


class Gates(Body):
    """The conditions that evaluation must meet before a checkpoint may ship."""

    auroc_above: float = Field(0.5, ge=0, lt=1, description="the interval's lower bound must lie above this")
    non_inferiority_margin: float = Field(
        0.05,
        ge=0,
        le=0.5,
        description="AUROC may be this much below the shipped checkpoint's, at its interval's low end",
    )
    kl_nats_per_token: float = Field(0.5, gt=0, description="budget of the drift from the reference, on own samples")
    length_ratio_low: float = Field(
        0.5,
        ge=0,
        le=1,
        description="median length of sampled completions, as a share of the reference's: at least this",
    )
    length_ratio_high: float = Field(2.0, ge=1, le=1000, description="and this at most")
    minimum_holdout_per_class: int = Field(
        5,
        ge=0,
        le=100_000,
        description="fewer held-out rows of a class decide nothing: no run starts, and none passes; 0 lets runs start "
        "that only an override can ship",
    )
    minimum_holdout_prompts: int = Field(5, ge=0, le=100_000, description="the same of the prompts that are held out")
    margin_over_dumb_readers: float | None = Field(
        None,
        ge=0,
        le=0.5,
        description="AUROC must be this much above the best of the readers that know nothing (bag of words, length, "
        "the reference's log-prob), at its interval's low end; unset: they are shown and decide nothing",
    )
    refused_findings: tuple[Name, ...] = Field(
        ("rewards_fall", "classes_not_separated"),
        max_length=20,
        description="codes of the trainer's findings that must not occur after the last step",
    )
