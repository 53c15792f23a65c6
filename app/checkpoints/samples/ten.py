"""Ten prompts of the samples for the model card, chosen by a rule that the card states. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from app.checkpoints.samples.files import Row

#: Prompts whose replies differ most, and prompts at random.
DIFFERENT, AT_RANDOM = 5, 5
RULE = (
    f"The {DIFFERENT} held-out prompts for which the most probable replies of the candidate and of the shipped "
    f"checkpoint share the fewest words, and {AT_RANDOM} of the others, drawn with the recipe's seed."
)


def ten(sets: Sequence[Mapping[str, Row]], seed: int) -> list[tuple[str, Mapping[str, Row]]]:
    """Returns up to ten sets of greedy replies to held-out prompts, each with the reason why it was chosen."""
    eligible = [of for of in sets if of["candidate"]["source"] == "holdout" and of["candidate"]["decoding"] == "greedy"]
    shared = [_shared(of["candidate"]["completion"], of["shipped"]["completion"]) for of in eligible]
    order = sorted(range(len(eligible)), key=lambda number: (shared[number], number))
    others = sorted(order[DIFFERENT:])
    drawn = np.random.default_rng([seed, 3]).permutation(len(others))[:AT_RANDOM]
    chosen = [("differs most", eligible[number]) for number in order[:DIFFERENT]]
    return chosen + [("at random", eligible[others[place]]) for place in sorted(drawn.tolist())]


def _shared(text: str, other: str) -> float:
    """Returns the share of words that both texts have, from 0 to 1 (Dice)."""
    words, others = Counter(text.split()), Counter(other.split())
    total = words.total() + others.total()
    both: Any = (words & others).total()
    return 2 * both / total if total else 1.0
