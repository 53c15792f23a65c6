"""Signals: the actions of a user on a completion. `kind` names the action."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from thumbwheel.wire.values import Body, CompletionText, Name

#: Far beyond any scale that people rate on; within it, places on a scale can be computed exactly enough.
SCALE_LIMIT = 1e9
OnScale = Annotated[float, Field(ge=-SCALE_LIMIT, le=SCALE_LIMIT, allow_inf_nan=False)]


class Thumbs(Body):
    """An explicit verdict."""

    kind: Literal["thumbs"] = "thumbs"
    value: Literal["up", "down"]


class Edit(Body):
    """The user changed the completion into `text` before using it. Unchanged, it is stored as accept."""

    kind: Literal["edit"] = "edit"
    text: CompletionText


class Rating(Body):
    """A value on a scale from `minimum` to `maximum`, higher is better."""

    kind: Literal["rating"] = "rating"
    value: OnScale
    minimum: OnScale = 1
    maximum: OnScale = 5

    @model_validator(mode="after")
    def _on_its_scale(self) -> Self:
        if not self.minimum < self.maximum:
            raise ValueError("minimum must be below maximum")
        if not self.minimum <= self.value <= self.maximum:
            raise ValueError(f"value must be between {self.minimum:g} and {self.maximum:g}")
        return self


class Implicit(Body):
    """Something the user did without judging: weaker than an explicit verdict.

    escalate, reopen and resolve are what became of the conversation or ticket that the completion was part of.
    """

    kind: Literal["accept", "reject", "copy", "regenerate", "escalate", "reopen", "resolve"]


class Flag(Body):
    """The user reported the completion, for example as ``unsafe`` or ``wrong``."""

    kind: Literal["flag"] = "flag"
    flags: Annotated[list[Name], Field(min_length=1, max_length=32)]


class Preference(Body):
    """The user compared this event's completion with another one of the same prompt, and preferred it, or neither.

    The other one is given by its text `rejected`, then the event carries prompt and completion too; or by its id alone.
    """

    kind: Literal["preference"] = "preference"
    rejected: CompletionText | None = None
    rejected_completion_id: Name | None = None
    tie: Literal[True] | None = Field(None, description="true: the user compared both and prefers neither")

    @model_validator(mode="after")
    def _names_the_other(self) -> Self:
        if self.rejected is None and self.rejected_completion_id is None:
            raise ValueError("rejected is missing: send the other text, or its rejected_completion_id")
        return self


class Outcome(Body):
    """A fact reported by the product, under the product's name for it: ``ticket_solved``, ``tests_passed``."""

    kind: Literal["outcome"] = "outcome"
    name: Name
    value: bool


class Comment(Body):
    """A remark of the user about the completion."""

    kind: Literal["comment"] = "comment"
    text: CompletionText


class Retract(Body):
    """The user retracts the event named by `supersedes`, or without it all their feedback on this completion so far.
    Retracted events stay in the log and no longer count."""

    kind: Literal["retract"] = "retract"


Signal = Annotated[
    Thumbs | Edit | Rating | Implicit | Flag | Preference | Outcome | Comment | Retract, Field(discriminator="kind")
]
