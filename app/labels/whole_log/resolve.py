"""Resolves a whole log to labels at once, as `app.labels.policy` does for one completion. Pure: frames in, frames out.

A property-based test shows that both give the same. That function judges each distinct signal once; all else is
counting: ids are numbers, moments and positions are integers, and the latest event is a maximum.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from thumbwheel import wire

from app.feedback.reading.event_time import NO_TIME
from app.labels.policy import NO_VERDICT, QUARANTINED, TIE
from app.labels.verdicts import THOUSANDTHS, Context, SignalVerdict, preference_in, rewrite_weight
from app.labels.whole_log.comparisons import Judgements, judgements_of
from app.labels.whole_log.events import NAME, Log, LogEvents, changes, microseconds
from app.labels.whole_log.labelled import Labelled
from app.labels.whole_log.verdicts_of_signals import Verdicts, kinds_of, verdict_of


def judgements(policy: wire.LabelPolicy, log: Log, context: Context) -> pl.DataFrame:
    """Returns the votes that the guards examine when no actor is left out: one row for each actor and completion, and
    one for each actor and two completions that the actor compared. `resolve` returns the same, but takes longer.

    judged     UInt32: number of the completion; compared pairs have the numbers after these, see
               `Labelled.completion_of`
    actor      UInt32
    moment     Datetime; null if no time was sent
    desirable  Boolean; for a comparison, whether the first of the two is preferred
    compared   Boolean: whether the vote is a comparison of two completions
    """
    verdicts = Verdicts([verdict_of(policy, body, context) for body in log.signals])
    counted = _CountedEvents.of(policy, log, log.stands, verdicts, context)
    return counted.judgements(len(log.completions), verdicts)


def resolve(
    policy: wire.LabelPolicy,
    log: Log,
    context: Context,
    left_out: Sequence[str] = (),
    *,
    said: bool = False,
    judged: bool = False,
) -> Labelled:
    """Returns the labels that `policy` gives to the completions of the log.

    left_out  actors whose signals do not count
    said      also list every signal
    judged    also return the votes that the guards examine
    """
    events, counts = log.events, log.stands
    silenced = np.zeros(len(log.completions), dtype=bool)
    if left_out:
        out = log.actors.is_in(list(left_out)).to_numpy()[events.actor]
        silenced[events.completion[counts & out]] = True
        counts = counts & ~out
    kinds = kinds_of(log.signals)
    verdicts = Verdicts([verdict_of(policy, body, context) for body in log.signals])
    counted = _CountedEvents.of(policy, log, counts, verdicts, context)
    votes = counted.votes(verdicts)
    return Labelled(
        completions=_completions(log.completions, votes, verdicts, silenced),
        votes=_votes(votes, verdicts),
        rewrites=_rewrites(policy.signals.edit, log, events, counts),
        comparisons=counted.compared.counted(),
        judgements=counted.judgements(len(log.completions), verdicts) if judged else pl.DataFrame(),
        compared=events.completion[log.compared.row],
        said=_said(kinds, events.where(counts) if said else events.where(slice(0)), verdicts),
        actors=log.actors,
    )


@dataclass(frozen=True)
class _CountedEvents:
    """The events that count: one for each actor and completion without comparisons, and the judgements in these."""

    one_by_one: LogEvents
    compared: Judgements

    @staticmethod
    def of(
        policy: wire.LabelPolicy, log: Log, counts: NDArray[np.bool_], verdicts: Verdicts, context: Context
    ) -> "_CountedEvents":
        compares = np.array([preference_in(body) is not None for body in log.signals], dtype=bool)
        rules = policy.signals.preference
        says = rules.preferred is not None or rules.not_preferred is not None
        kinds = kinds_of(log.signals)["kind"].to_numpy()
        alone = ~compares & verdicts.says
        final = _final(log.events, counts, alone, verdicts, kinds, context)
        return _CountedEvents(_latest(final, verdicts), judgements_of(log, counts & says))

    def votes(self, verdicts: Verdicts) -> LogEvents:
        """Returns the one event of each actor about each completion that counts."""
        compared = self.compared.of_completions()
        if not len(compared.position):
            return self.one_by_one
        compared = compared.where(verdicts.says[compared.signal])
        return _latest(self.one_by_one.with_more(compared), verdicts)

    def judgements(self, completions: int, verdicts: Verdicts) -> pl.DataFrame:
        """Returns the votes that the guards examine: see the function of this name."""
        plain, once = self.one_by_one, self.compared.once()
        numbers = completions + once.two
        events = plain.with_more(once.events) if len(once.two) else plain
        no_time = events.by_arrival | (events.moment == microseconds(NO_TIME))
        return pl.DataFrame(
            {
                "judged": np.concatenate([plain.completion, numbers.astype(np.uint32)]),
                "actor": events.actor,
                "moment": pl.Series(events.moment).set(pl.Series(no_time), None).cast(pl.Datetime("us", "UTC")),
                "desirable": np.concatenate([verdicts.desirable[plain.signal], once.preference > 0]),
                "compared": np.repeat([False, True], [len(plain.position), len(numbers)]),
            }
        )


def _votes(votes: LogEvents, verdicts: Verdicts) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "completion": votes.completion,
            "actor": votes.actor,
            "moment": pl.Series(votes.moment).cast(pl.Datetime("us", "UTC")),
            "position": votes.position,
            "desirable": verdicts.desirable[votes.signal],
            "weight": verdicts.weight[votes.signal],
            "reason": verdicts.reason.gather(votes.signal),
        }
    )


def _said(kinds: pl.DataFrame, events: "LogEvents", verdicts: Verdicts) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "kind": kinds["kind"].gather(events.signal),
            "detail": kinds["detail"].gather(events.signal),
            "completion": events.completion,
            "says": verdicts.reason.gather(events.signal),
        }
    )


def _final(
    events: LogEvents,
    counts: NDArray[np.bool_],
    says: NDArray[np.bool_],
    verdicts: Verdicts,
    kind: NDArray[np.object_],
    context: Context,
) -> LogEvents:
    """Returns the counting events whose signal `says` something; its window, if any, is over without an objection."""
    final = counts & says[events.signal]
    for signal, verdict in enumerate(verdicts.found):
        if verdict is not None and verdict.unless is not None:
            waiting = np.flatnonzero(final & (events.signal == signal))
            objections = events.where(counts & (kind == verdict.unless)[events.signal])
            final[waiting[~_holds(events.where(waiting), objections, verdict, context)]] = False
    return events.where(final)


def _holds(waiting: LogEvents, objections: LogEvents, verdict: SignalVerdict, context: Context) -> NDArray[np.bool_]:
    """Returns for each waiting event whether its window is over without an objection to the same completion."""
    end = waiting.moment + verdict.within // timedelta(microseconds=1)
    pairs = (
        _frame(waiting, "completion", "moment", "sequence")
        .with_columns(pl.Series("end", end))
        .with_row_index("row")
        .join(_frame(objections, "completion", "moment", "sequence"), on="completion")
        .filter(
            (pl.col("moment_right") <= pl.col("end"))
            & (
                (pl.col("moment_right") > pl.col("moment"))
                | ((pl.col("moment_right") == pl.col("moment")) & (pl.col("sequence_right") >= pl.col("sequence")))
            )
        )
    )
    unopposed = end <= microseconds(context.as_of)
    unopposed[pairs["row"].to_numpy()] = False
    return unopposed


def _latest(events: LogEvents, verdicts: Verdicts) -> LogEvents:
    """Returns one event of each actor about each completion, ordered by both: the latest one of the lowest rank.
    If events of one rank contradict each other in their newest moment, that rank is ignored; if they agree, the
    heaviest counts.
    """
    pair = events.pair
    order = np.argsort(pair)
    begins = changes(pair[order])
    alone = begins & np.append(begins[1:], True)[: len(order)]
    several = order[~alone]
    chosen = np.concatenate([order[alone], several[_latest_rows(events.where(several), verdicts)]])
    return events.where(chosen[np.argsort(pair[chosen])])


def _latest_rows(events: LogEvents, verdicts: Verdicts) -> NDArray[np.int64]:
    """Returns the rows that `_latest` chooses. Sorts by every key, which is slow, only if moments coincide."""
    pair, rank = events.pair, verdicts.rank[events.signal]
    # The last event of each pair in this order is chosen.
    order = np.lexsort((events.sequence, events.moment, -rank, pair))
    same = ~(changes(pair[order]) | changes(rank[order]))
    at_once = same & events.same_moment_as_before(order)
    if at_once.any():
        # Of votes that are equal in all this, the one with the last position is chosen, however the log was read.
        heaviest = -verdicts.order[events.signal].astype(np.int64)
        order = np.lexsort((events.position, heaviest, events.sequence, events.moment, -rank, pair))
        desirable = verdicts.desirable[events.signal[order]]
        begins = np.flatnonzero(~at_once)
        contradicts = np.logical_or.reduceat(desirable, begins) != np.logical_and.reduceat(desirable, begins)
        # One value for each rank of an actor and completion, taken from its newest moment, which comes last.
        last = np.append(~same[1:], True)
        silent = contradicts[(np.cumsum(~at_once) - 1)[last]]
        order = order[~silent[np.cumsum(~same) - 1]]
    pair = pair[order]
    return order[np.append(pair[1:] != pair[:-1], True)[: len(pair)]]


def _completions(
    completions: pl.DataFrame, votes: LogEvents, verdicts: Verdicts, silenced: NDArray[np.bool_]
) -> pl.DataFrame:
    """Adds the labels: the heavier side, the weight of its heaviest verdict, its reasons with the heaviest first."""
    desirable, weight = verdicts.desirable[votes.signal], verdicts.weight[votes.signal]
    count = len(completions)
    # Sums of thousandths are whole numbers far below 2^53: exact as floats, in any order.
    up = np.bincount(votes.completion[desirable], weight[desirable], count)
    down = np.bincount(votes.completion[~desirable], weight[~desirable], count)
    label = pl.Series(up > down).set(pl.Series(up == down), None)
    won = (desirable == (up > down)[votes.completion]) & (up != down)[votes.completion]
    heaviest = np.zeros(count, dtype=np.int32)
    np.maximum.at(heaviest, votes.completion[won], weight[won])
    all_reasons = [*verdicts.reasons, TIE, NO_VERDICT, QUARANTINED]
    tie, no_verdict, quarantined = range(len(verdicts.reasons), len(all_reasons))
    reason, offsets = _in_order(votes.completion[won], verdicts.order[votes.signal][won], count)
    nothing = np.where(up > 0, tie, np.where(silenced, quarantined, no_verdict))
    lists = np.diff(offsets) == 0
    first = nothing.copy()
    first[~lists] = reason[offsets[:-1][~lists]]
    names = pl.Series(all_reasons, dtype=NAME)
    filled = np.insert(reason, offsets[:-1][lists], nothing[lists]).astype(np.int64)
    ends = offsets + np.concatenate(([0], np.cumsum(lists)))
    return completions.with_columns(
        label.alias("label"),
        pl.Series("weight", heaviest),
        names.gather(first).alias("reason"),
        _lists(names.gather(filled), ends).alias("reasons"),
    )


def _in_order(group: NDArray[Any], value: NDArray[Any], groups: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the distinct values of each group in ascending order, and the offsets at which each group begins."""
    both = np.sort(group.astype(np.int64) << 32 | value)
    both = both[np.append(True, both[1:] != both[:-1])[: len(both)]]
    sizes = np.bincount(both >> 32, minlength=groups)
    return both & 0xFFFFFFFF, np.concatenate(([0], np.cumsum(sizes)))


def _lists(values: pl.Series, offsets: NDArray[np.int64]) -> pl.Series:
    return pl.Series(pa.LargeListArray.from_arrays(pl.Series(offsets).to_arrow(), values.to_arrow()))


def _rewrites(rule: wire.EditRule, log: Log, events: LogEvents, counts: NDArray[np.bool_]) -> pl.DataFrame:
    """Returns the latest edits of each actor whose texts become rows of their own. The same text is one row per
    completion, at its first position and with the weight of its heaviest edit.
    """
    is_edit = np.array([body["kind"] == "edit" for body in log.signals], dtype=bool)
    weights = [rewrite_weight(rule, body["severity"]) if body["kind"] == "edit" else None for body in log.signals]
    weight = np.array([0 if value is None else round(value * THOUSANDTHS) for value in weights], dtype=np.int32)
    edits = events.where(counts & is_edit[events.signal])
    order = np.lexsort((edits.sequence, edits.moment, edits.pair))
    new_pair = changes(edits.pair[order])
    new_moment = new_pair | ~edits.same_moment_as_before(order)
    ends_moment, ends_pair = (np.append(new[1:], True)[: len(order)] for new in (new_moment, new_pair))
    # Keep the edits of the newest moment: those whose moment ends where their pair ends.
    end_of_moment = np.flatnonzero(ends_moment)[np.cumsum(ends_moment) - ends_moment]
    edits = edits.where(order[ends_pair[end_of_moment]])
    edits = edits.where(weight[edits.signal] > 0)
    return (
        _frame(edits, "completion", "actor", "position", "moment")
        .with_columns(pl.Series("weight", weight[edits.signal]))
        .join(log.rewritten, on="position")
        .group_by("completion", "key")
        .agg(
            pl.col("position").min(),
            pl.col("moment").max(),
            pl.col("weight").max(),
            pl.col("actor").unique().sort().alias("actors"),
        )
        .sort("completion", "position")
    )


def _frame(events: LogEvents, *names: str) -> pl.DataFrame:
    return pl.DataFrame({name: getattr(events, name) for name in names})
