"""Detects actors whose votes look automated or copied: bursts, one-sided votes, rings. Pure.

A finding is no proof: the votes wait for an operator's decision. Each finding carries the figures that it rests on.
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
    "together": pl.UInt32,  # completions, or compared pairs, that the actor and the most similar partner both judged
    "overlap": pl.Float64,  # their share of all that either judged
    "agreement": pl.Float64,  # share of equal votes among those that both judged
    "ring": _NUMBERS,  # the other members
    "examples": _NUMBERS,  # of what was judged
}
#: A finding on one actor by one rule; figures that a rule does not have are null. Actors and what they judged are given
#: by number.
FINDINGS = pl.Schema(_COLUMNS)


def findings(votes: pl.DataFrame, rules: wire.guard_rules.Quarantine) -> pl.DataFrame:
    """Returns the findings of the rules, by actor and rule; see `FINDINGS`. The order of the votes doesn't matter.

    votes  one row for each actor and completion, and for each actor and two completions that were compared: see
           `app.labels.whole_log.resolve.judgements`. A comparison is one vote, and `one_way` ignores it.
    """
    if votes.is_empty():
        return FINDINGS.to_frame()
    count = counted(votes["actor"])
    tables = []
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
                tables.append(_bursts(ordered.drop_nulls("moment"), rules.burst))
            theirs = one_way.filter(one_way["actor"].is_between(ordered["actor"][0], ordered["actor"][-1]))
            tables.append(theirs.with_columns(_first_of_sides(ordered.filter(~ordered["compared"]), theirs)))
    if rules.ring is not None:
        tables.append(rings(votes, rules.ring))
    cast = (table.cast({name: FINDINGS[name] for name in table.columns}) for table in tables)
    return pl.concat([FINDINGS.to_frame(), *cast], how="diagonal").sort("actor", "rule")


def _bursts(ordered: pl.DataFrame, rule: wire.guard_rules.Burst) -> pl.DataFrame:
    """Returns the actors with `rule.votes` votes or more within `rule.seconds`, with the fullest such span.

    All votes have a time that was sent: that of the receipt shows the speed of the upload, not of the voting.
    """
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
    """Returns the actors with many votes, nearly all on one side, if the share of all others cannot explain them.

    Among actors who vote as everybody does, the rule flags one by chance in fewer than one of a million projects.

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
    flagged = (k / n > j / m) & (surprise > limit)
    picked = suspects[flagged]
    return pl.DataFrame(
        {
            "actor": picked.astype(np.uint32),
            "rule": ["one_way"] * len(picked),
            "votes": n[flagged],
            "desirable": mostly_up[picked],
            "share": (k / n)[flagged],
            "others_share": (j / m)[flagged],
        },
        schema_overrides={"rule": FINDINGS["rule"]},
    )


def _first_of_sides(ordered: pl.DataFrame, one_way: pl.DataFrame) -> pl.Series:
    """Returns examples for each actor of `one_way`: the first votes on the actor's side."""
    actor = ordered["actor"].to_numpy()
    examples = []
    for number, desirable in one_way.select("actor", "desirable").iter_rows():
        begin, end = np.searchsorted(actor, number), np.searchsorted(actor, number, side="right")
        few = ordered[begin : min(begin + 2 * EXAMPLES, end)]
        examples.append(few.filter(few["desirable"] == desirable)["judged"][:EXAMPLES].to_list())
    return pl.Series("examples", examples, dtype=FINDINGS["examples"])
