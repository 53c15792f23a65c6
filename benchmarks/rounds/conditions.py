"""The conditions of the study: how the first round of the loop learns, and how each later one does. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

#: Which votes a round learns from: those on the live model, or also those on the models before it, whose rows weigh
#: half as much for each round of age if they decay.
VotesOf = Literal["live", "all", "all_decayed"]


@dataclass(frozen=True)
class Way:
    """The settings of a round."""

    recipe: Mapping[str, Any] = field(default_factory=dict)  # changes to the preset
    votes: VotesOf = "live"
    times_votes: int = 1  # rounds' worth of votes on the live model
    by_writer: bool = False  # rows weigh by how probable the reference writes them, against the model that wrote them
    corrected: bool = False  # the loss is corrected for the shares of wrong labels that an audit measured
    anchor: float = 0.0  # weight of the mean token loss of desirable rows
    kept: float = 1.0  # weight of the words of an edited reply that the edit kept
    clip: float | None = None  # nats beyond which a token's log-ratio counts no more


@dataclass(frozen=True)
class Condition:
    name: str
    about: str
    first: Way
    later: Way
    rounds: int = 3
    seeds: int = 3

    def way(self, number: int) -> Way:
        """Returns the way of round `number`, from 1."""
        return self.first if number == 1 else self.later


TODAY = Condition(
    "today",
    "λ auto; two epochs; the rate halved after the first round",
    Way({"learning_rate": 3e-4, "epochs": 2}),
    Way({"learning_rate": 1.5e-4, "epochs": 2}),
)
_FIRST = Way({"learning_rate": 3e-4, "epochs": 4})
_LATER = Way({**_FIRST.recipe, "weigh_up": "desirable"})
#: The condition that is run with more seeds and rounds.
BEST = Condition(
    "longer-capped", "four epochs at the full rate; λ never weighs rare undesirable rows up", _FIRST, _LATER, 5, 5
)


def _later(name: str, about: str, **changes: Any) -> Condition:
    """Returns a condition that differs from the best one in its later rounds."""
    return Condition(name, about, _FIRST, replace(_LATER, **changes))


def _recipe(**changes: Any) -> dict[str, Any]:
    return {**_LATER.recipe, **changes}


def _always(name: str, about: str, **changes: Any) -> Condition:
    """Returns a condition that differs from the best one in all rounds."""
    return Condition(name, about, replace(_FIRST, **changes), replace(_LATER, **changes))


CONDITIONS = (
    BEST,
    TODAY,
    Condition("today-capped", "as today; λ never weighs rare undesirable rows up", TODAY.first,
              Way({**TODAY.later.recipe, "weigh_up": "desirable"})),
    replace(_later("auto-lambda", "λ auto", recipe=_recipe(weigh_up="either")), seeds=5),
    _later("half-rate", "half the rate", recipe=_recipe(learning_rate=1.5e-4)),
    _later("two-epochs", "two epochs", recipe=_recipe(epochs=2)),
    _later("beta-0.25", "β 0.25", recipe=_recipe(beta=0.25)),
    _later("beta-1", "β 1", recipe=_recipe(beta=1.0)),
    _later("all-votes", "votes of all rounds", votes="all"),
    _later("all-votes-decayed", "votes of all rounds, half as heavy for each round of age", votes="all_decayed"),
    _later("all-votes-by-writer", "votes of all rounds, weighed by who wrote what", votes="all", by_writer=True),
    _later("noise-corrected", "loss corrected for audited label noise", corrected=True),
    _always("noise-corrected-always", "loss corrected for audited label noise in the first round, too", corrected=True),
    _always("anchor-0.05", "+ 0.05 × the mean token loss of desirable rows", anchor=0.05),
    _always("anchor-0.2", "+ 0.2 × the mean token loss of desirable rows", anchor=0.2),
    _later("clipped", "token log-ratios beyond ± 1.5 nats count no more", clip=1.5),
    _always("edits-0.1", "words that an edit kept weigh 0.1", kept=0.1),
    Condition("together", "loss corrected for audited label noise; from round 2 also β 1 and decayed older votes",
              replace(_FIRST, corrected=True),
              replace(_LATER, corrected=True, recipe=_recipe(beta=1.0), votes="all_decayed")),
    Condition("lora", "an adapter of rank 16", Way({**_FIRST.recipe, "method": "lora", "learning_rate": 3e-3}),
              _LATER, rounds=1),
    Condition("one-large-run", "the votes of five rounds at once, on the base model's replies",
              replace(_FIRST, times_votes=5), _LATER, rounds=1, seeds=5),
)  # fmt: skip
