"""Caps the share of all weight that one actor, or one group of prompts, may have. Pure.

The weight of a row is shared equally by the actors of its winning side. Actor *a* keeps g_a of its shares and group *p*
keeps h_p of its rows: a row of weight w in group p weighs w · h_p · (mean of g over its actors). With T the weight of
all rows afterwards, and *s* and *R* of a cap's rules, what is sought is

    actor:  g_a · C_a(h) ≤ min(s · T, R)        C_a(h) = Σ shares of a, each times h of its row's group
    group:  h_p · V_p(g) ≤ min(s · T, R)        V_p(g) = Σ shares in p, each times g of its actor

with g = 1 where an actor is under its cap, h = 1 where a group is. An actor who shares a row with one over the cap
keeps its whole share: otherwise an actor could erase the rows of others by voting along.

For h fixed, T = Σ_a min(C_a, s·T, R) is concave in T and 0 at 0, so Newton's steps from above reach its largest
solution, after as many as it has corners at most; likewise for g fixed. Taking turns is Sinkhorn's scaling with
inequalities: it settles where both hold, and changes the shares least (in the sense of relative entropy) for the T that
it ends with (Benamou et al., SIAM J. Sci. Comput. 37, 2015, section 3). An excess due to rounding is cut at the
end, and the result is measured: either each cap holds for the resulting T, or no weight is left.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from thumbwheel import wire

from app.labels.guards.portions import blocks

MOST_TURNS = 100
#: The relative error of a sum of a million numbers.
EXACT = 1e-12
#: A relative weight below which the caps cannot hold together.
NOTHING = 1e-9

Floats = NDArray[np.float64]
Numbers = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Capped:
    """The weights of n rows. `by_actor`, `by_prompt`: whether the cap of an actor, or of the group, reduced the row.

    actors, prompts  the factor of each, by its number: 1 if it was under its cap. All are 0 if no weights can satisfy
                     the caps, as one group or actor has a share in nearly every row.
    """

    weight: Floats
    by_actor: NDArray[np.bool_]
    by_prompt: NDArray[np.bool_]
    actors: Floats
    prompts: Floats


def capped(
    weight: Floats, members: tuple[Numbers, Numbers], prompt: Numbers, rules: wire.guard_rules.Influence
) -> Capped:
    """Returns the weights of n rows under the caps of `rules`; none rises, and none changes unless a cap is exceeded.

    weight   (n,) not negative
    members  (row, actor) of each actor on a row's winning side, once each; a row may have none
    prompt   (n,) number of the row's group of prompts
    """
    shares = _Shares(weight, members, prompt)
    actor_cap = _CapOf(rules.actor, shares.of_actors(np.ones(shares.groups)))
    prompt_cap = _CapOf(rules.prompt, shares.of_groups(np.ones(shares.actors)))
    keeps_actor, keeps_prompt = _held(shares, actor_cap, prompt_cap, *_settled(shares, actor_cap, prompt_cap))
    several = shares.several
    del shares  # it takes more memory than all that follows
    left = _mean_of_rows(members, several, keeps_actor)
    by_actor, by_prompt = left < 1, np.empty(len(weight), np.bool_)
    left *= weight
    for block in blocks(len(weight)):
        factor = keeps_prompt[prompt[block]]
        by_prompt[block] = factor < 1
        left[block] *= factor
    return Capped(weight=left, by_actor=by_actor, by_prompt=by_prompt, actors=keeps_actor, prompts=keeps_prompt)


class _Shares:
    """Each actor's share of each row.

    Sums are computed block by block; each number is added in the order of the members.
    """

    def __init__(self, weight: Floats, members: tuple[Numbers, Numbers], prompt: Numbers) -> None:
        self.row, self.actor = members
        self.rows = len(weight)
        self.actors = int(self.actor.max()) + 1 if len(self.actor) else 0
        self.groups = int(prompt.max(initial=0)) + 1
        #: The number of actors who share each row.
        self.several = np.zeros(self.rows, np.uint32)
        for block in blocks(len(self.row)):
            np.add.at(self.several, self.row[block], np.uint32(1))
        self.share = np.empty(len(self.row))
        self.group = np.empty(len(self.row), prompt.dtype)
        for block in blocks(len(self.row)):
            row = self.row[block]
            self.share[block] = weight[row] / self.several[row]
            self.group[block] = prompt[row]
        #: The weight of the rows without actors, by group.
        self.nobodys = np.zeros(self.groups)
        for block in blocks(self.rows):
            alone = self.several[block] == 0
            np.add.at(self.nobodys, prompt[block][alone], weight[block][alone])

    def of_actors(self, keeps_prompt: Floats) -> Floats:
        summed = np.zeros(self.actors)
        for block in blocks(len(self.row)):
            np.add.at(summed, self.actor[block], self.share[block] * keeps_prompt[self.group[block]])
        return summed

    def of_groups(self, keeps_actor: Floats) -> Floats:
        own = np.zeros(self.groups)
        for block in blocks(len(self.row)):
            np.add.at(own, self.group[block], self.share[block] * keeps_actor[self.actor[block]])
        return own + self.nobodys


def _mean_of_rows(members: tuple[Numbers, Numbers], several: NDArray[np.uint32], keeps_actor: Floats) -> Floats:
    """Returns the mean factor of the actors of each row; 1 if it has none. `several`: the number of its actors."""
    row, actor = members
    mean = np.zeros(len(several))
    for block in blocks(len(row)):
        np.add.at(mean, row[block], keeps_actor[actor[block]])
    mean[several == 0] = 1
    for block in blocks(len(several)):
        mean[block] /= np.maximum(several[block], 1)
    return mean


class _CapOf:
    """The cap of one family, actors or groups. Only members with weight count for its equal share."""

    def __init__(self, cap: wire.guard_rules.Cap | None, weights: Floats) -> None:
        count = max(int(np.count_nonzero(weights)), 1)
        self.share = np.inf if cap is None else min(max(cap.share, cap.times_equal / count), 1.0)
        self.rows = np.inf if cap is None else cap.rows

    def at(self, total: float) -> float:
        return min(self.share * total, self.rows) if total > 0 else 0.0

    def kept(self, weights: Floats, limit: float) -> Floats:
        over = weights > limit * (1 + EXACT)
        return np.divide(limit, weights, out=np.ones_like(weights), where=over)

    def total(self, weights: Floats, others: float) -> float:
        """Returns the largest T = others + Σ min(weights, cap at T)."""
        total = others + float(weights.sum())
        while True:
            limit = self.at(total)
            over = weights > limit * (1 + EXACT)
            under = others + float(weights[~over].sum())
            count = int(np.count_nonzero(over))
            slope = self.share * count if limit < self.rows else 0.0
            if count == 0 or slope >= 1:
                return total
            after = (under + (count * self.rows if slope == 0 else 0.0)) / (1 - slope)
            if not after < total * (1 - EXACT):
                return total
            total = after


def _settled(shares: _Shares, actor_cap: _CapOf, prompt_cap: _CapOf) -> tuple[Floats, Floats, float]:
    """Returns g, h and T after taking turns. Rounding, or too few turns, may leave some a little over their cap."""
    keeps_prompt = np.ones(shares.groups)
    weights = shares.of_actors(keeps_prompt)
    least = NOTHING * (float(weights.sum()) + float(shares.nobodys.sum()))
    for _ in range(MOST_TURNS):
        nobodys = float(shares.nobodys @ keeps_prompt)
        keeps_actor = actor_cap.kept(weights, actor_cap.at(actor_cap.total(weights, nobodys)))
        groups = shares.of_groups(keeps_actor)
        total = prompt_cap.total(groups, 0.0)
        keeps_prompt = prompt_cap.kept(groups, prompt_cap.at(total))
        if total <= least and least > 0:
            return np.zeros(shares.actors), np.zeros(shares.groups), 0.0
        weights = shares.of_actors(keeps_prompt)
        limit, has = actor_cap.at(total), keeps_actor * weights
        tight = (keeps_actor == 1) | (has >= limit * (1 - 1e-6))
        if (has <= limit * (1 + EXACT)).all() and tight.all():
            break
    return keeps_actor, keeps_prompt, total


def _held(
    shares: _Shares, actor_cap: _CapOf, prompt_cap: _CapOf, keeps_actor: Floats, keeps_prompt: Floats, total: float
) -> tuple[Floats, Floats]:
    """Returns g and h, cut further until the caps hold for the remaining weight.

    They are cut to the caps of a smaller total. The caps hold if at least that total is left.
    """
    for slack in _slacks():
        aim = total * (1 - slack)
        fewer = keeps_actor * actor_cap.kept(keeps_actor * shares.of_actors(keeps_prompt), actor_cap.at(aim))
        groups = shares.of_groups(fewer)
        narrower = keeps_prompt * prompt_cap.kept(keeps_prompt * groups, prompt_cap.at(aim))
        if float(narrower @ groups) >= aim * (1 - EXACT):
            return fewer, narrower
    return np.zeros(shares.actors), np.zeros(shares.groups)


def _slacks() -> Iterator[float]:
    yield 0.0
    yield from (10.0**power for power in range(-12, 0))
    yield from (0.2, 0.3, 0.5, 0.7, 0.9, 0.99)
