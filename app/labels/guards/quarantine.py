"""Whose votes look like no person's own judgement: bursts, votes on one side alone, rings. Pure.

What is found is no proof: the votes wait for somebody's decision. Each finding carries the figures that it rests on.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray
from thumbwheel import wire

from app.labels.guards import chance
from app.labels.guards.portions import by_actors, counted
from app.labels.guards.rings import EXAMPLES, rings

MICROSECONDS = 1_000_000

_NUMBERS = pl.List(pl.UInt32)
_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "actor": pl.UInt32,
    "rule": pl.String,  # burst, one_way or ring
    "votes": pl.UInt32,  # all of the actor's; within `seconds` for a burst
    "seconds": pl.Float64,
    "desirable": pl.Boolean,  # the one side
    "share": pl.Float64,  # of the actor's votes on it
    "others_share": pl.Float64,  # of all other actors' votes on it
    "together": pl.UInt32,  # what the actor and the partner most alike both judged: a completion, or two compared
    "overlap": pl.Float64,  # of all that either judged
    "agreement": pl.Float64,  # of those that both judged
    "ring": _NUMBERS,  # the others in it
    "examples": _NUMBERS,  # of what was judged
}
#: Of one actor by one rule; figures that a rule does not have are null. Actors and what was judged by their numbers.
FINDINGS = pl.Schema(_COLUMNS)


def findings(votes: pl.DataFrame, rules: wire.guard_rules.Quarantine) -> pl.DataFrame:
    """What the rules find, by actor and rule; see `FINDINGS`. The order of the votes doesn't matter.

    votes  one row for each actor and completion, and for each actor and two completions that were compared: see
           `app.labels.whole_log.resolve.judgements`. A comparison is one vote, and on no side of `one_way`.
    """
    if votes.is_empty():
        return FINDINGS.to_frame()
    count = counted(votes["actor"])
    found = []
    one_way = FINDINGS.to_frame()
    if rules.one_way is not None:
        one_sided = votes.filter(~votes["compared"]) if votes["compared"].any() else votes
        one_way = _one_way(
            counted(one_sided["actor"]), counted(one_sided["actor"], one_sided["desirable"]), rules.one_way
        )
        del one_sided
    if rules.burst is not None or len(one_way):
        for ordered in by_actors(votes, count, "moment", "judged"):
            if rules.burst is not None:
                found.append(_bursts(ordered.drop_nulls("moment"), rules.burst))
            theirs = one_way.filter(one_way["actor"].is_between(ordered["actor"][0], ordered["actor"][-1]))
            found.append(theirs.with_columns(_first_of_sides(ordered.filter(~ordered["compared"]), theirs)))
    if rules.ring is not None:
        found.append(rings(votes, rules.ring))
    whole = [FINDINGS.to_frame(), *(one.cast({name: FINDINGS[name] for name in one.columns}) for one in found)]
    return pl.concat(whole, how="diagonal").sort("actor", "rule")


def _bursts(ordered: pl.DataFrame, rule: wire.guard_rules.Burst) -> pl.DataFrame:
    """Actors with `rule.votes` votes or more in some `rule.seconds`; the fullest such while. All votes have a time that
    was sent: that of the receipt tells how quickly votes were uploaded, not how quickly they were given."""
    actor = ordered["actor"].to_numpy()
    moment = ordered["moment"].cast(pl.Datetime("us")).to_physical().to_numpy()
    span = int(rule.seconds * MICROSECONDS)
    ahead = rule.votes - 1
    if len(actor) <= ahead:
        return pl.DataFrame(schema={"actor": pl.UInt32})
    sudden = (actor[ahead:] == actor[: len(actor) - ahead]) & (moment[ahead:] - moment[: len(moment) - ahead] <= span)
    suspects = np.unique(actor[:-ahead][sudden])
    begins, ends = np.searchsorted(actor, suspects), np.searchsorted(actor, suspects, side="right")
    rows = []
    for number, begin, end in zip(suspects.tolist(), begins.tolist(), ends.tolist(), strict=True):
        within = moment[begin:end]
        last = np.searchsorted(within, within + span, side="right")
        count = last - np.arange(len(within))
        start = int(count.argmax())
        examples = ordered["judged"][begin + start : min(begin + start + EXAMPLES, end)].to_list()
        rows.append((number, "burst", int(count[start]), rule.seconds, examples))
    names = ("actor", "rule", "votes", "seconds", "examples")
    return pl.DataFrame(rows, schema={name: FINDINGS[name] for name in names}, orient="row")


def _one_way(count: NDArray[np.uint32], desirable: NDArray[np.uint32], rule: wire.guard_rules.OneWay) -> pl.DataFrame:
    """Actors with nearly all of many votes on one side, and too many to come from a share like that of all others.

    Found by chance, among all actors of a project who vote as everybody does, less than once in a million projects.

    count, desirable  votes by actor, and desirable ones; these may be shorter: the last actors have none
    """
    if not len(count):
        return pl.DataFrame(schema={name: FINDINGS[name] for name in ("actor", "rule", "desirable")})
    votes, ups = count.astype(np.float64), np.zeros(len(count))
    ups[: len(desirable)] = desirable
    mostly_up = ups * 2 > votes
    one_side = np.where(mostly_up, ups, votes - ups)
    others = votes.sum() - votes
    others_side = np.where(mostly_up, ups.sum() - ups, others - (ups.sum() - ups))
    suspects = np.flatnonzero((votes >= rule.votes) & (one_side >= rule.share * votes) & (others > 0))
    n, k, m, j = (values[suspects] for values in (votes, one_side, others, others_side))
    surprise = chance.two_shares(k, n, j, m)
    limit = chance.MILLION_OF_TWO + np.log(np.count_nonzero(votes))
    found = (k / n > j / m) & (surprise > limit)
    picked = suspects[found]
    return pl.DataFrame(
        {
            "actor": picked.astype(np.uint32),
            "rule": ["one_way"] * len(picked),
            "votes": n[found],
            "desirable": mostly_up[picked],
            "share": (k / n)[found],
            "others_share": (j / m)[found],
        },
        schema_overrides={"rule": FINDINGS["rule"]},
    )


def _first_of_sides(ordered: pl.DataFrame, one_way: pl.DataFrame) -> pl.Series:
    """Examples of the actors nearly all of whose votes are on one side."""
    actor = ordered["actor"].to_numpy()
    examples = []
    for number, desirable in one_way.select("actor", "desirable").iter_rows():
        begin, end = np.searchsorted(actor, number), np.searchsorted(actor, number, side="right")
        few = ordered[begin : min(begin + 2 * EXAMPLES, end)]
        examples.append(few.filter(few["desirable"] == desirable)["judged"][:EXAMPLES].to_list())
    return pl.Series("examples", examples, dtype=FINDINGS["examples"])
