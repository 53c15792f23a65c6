"""What `app.labels.policy` does for one completion, for a whole log at once. Pure: frames in, frames out.

Equal to the pure function by a property-based test. Each different signal is judged once, by that function; all else is
counting: ids are numbers, moments and positions are integers, and what comes latest is a maximum.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from thumbwheel import wire

from app.labels import policy as one
from app.labels.policy import NO_VERDICT, QUARANTINED, THOUSANDTHS, TIE, Context, Verdict

#: What an edit says whose original's text is not known.
UNKNOWN_EDIT = "unknown"
#: Of few names that are said often: a number each in memory.
NAME = pl.Categorical()
REWRITTEN = pl.DataFrame(schema={"position": pl.Int64, "key": pl.Binary})


class Events(NamedTuple):
    """Columns of events; `moment` is in µs since 1970, `completion`, `actor` and `signal` are numbers."""

    position: NDArray[np.int64]
    completion: NDArray[np.uint32]
    actor: NDArray[np.uint32]
    moment: NDArray[np.int64]
    signal: NDArray[np.uint32]

    def where(self, chosen: NDArray[Any] | slice) -> "Events":
        """By a mask, by row numbers, or a slice."""
        return Events._make(column[chosen] for column in self)

    def order(self) -> NDArray[np.int64]:
        """Row numbers by time, then by place in the log."""
        return np.lexsort((self.position, self.moment))


@dataclass(frozen=True)
class Log:
    """What was said, in numbers.

    events       `completion` and `actor` are rows of the frames below, `signal` a place in `signals`; a preference is
                 there twice, once for each side
    stands       which of them were not taken back, nor replaced
    signals      the different ones, as on the wire; {"kind": "edit", "severity": …} for edits of that severity
    completions  completion_id str · checkpoint_id name or null · position Int64 · known bool: is its text there ·
                 carrier UInt8: what has it (`reading.CARRIERS`) · never_train bool: not to be trained on
    actors       their ids
    rewritten    position Int64 · key bytes (see `text_key`): the texts of edits that are rows of their own
    """

    events: Events
    stands: NDArray[np.bool_]
    signals: Sequence[dict[str, Any]]
    completions: pl.DataFrame
    actors: pl.Series
    rewritten: pl.DataFrame


@dataclass(frozen=True)
class Labelled:
    """What a policy makes of a log.

    completions  completion_id str · label bool or null · weight Int32 (thousandths) · reason name (the first) · reasons
                 list of names · checkpoint_id · position · known · carrier · never_train
    votes        what counts of each actor about each completion: completion, actor UInt32 (rows) · moment Datetime ·
                 position Int64 · desirable bool · weight Int32 (thousandths) · reason str
    rewrites     completion UInt32 · key bytes (see `text_key`) · position Int64 · moment Int64 (µs since 1970, of the
                 latest) · weight Int32 (thousandths) · actors list of UInt32
    said         every standing signal, where it was asked for: kind str · detail str or null · completion UInt32 ·
                 says str or null
    """

    completions: pl.DataFrame
    votes: pl.DataFrame
    rewrites: pl.DataFrame
    said: pl.DataFrame
    actors: pl.Series


def votes(policy: wire.LabelPolicy, log: Log, context: Context) -> pl.DataFrame:
    """What counts of each actor about each completion while nobody is left out: completion, actor UInt32 · moment
    Datetime · desirable bool. `resolve` has the same, and takes longer."""
    verdicts = _Verdicts([_verdict(policy, body, context) for body in log.signals])
    kind = _kinds(log.signals)["kind"].to_numpy()
    found = _latest(_final(log.events, log.stands, verdicts, kind, context), verdicts)
    return _votes(found, verdicts).select("completion", "actor", "moment", "desirable")


def resolve(
    policy: wire.LabelPolicy, log: Log, context: Context, left_out: Sequence[str] = (), *, said: bool = False
) -> Labelled:
    """What `policy` makes of the log.

    left_out  actors whose signals do not count
    said      also every signal one by one
    """
    events, counts = log.events, log.stands
    silenced = np.zeros(len(log.completions), dtype=bool)
    if left_out:
        out = log.actors.is_in(list(left_out)).to_numpy()[events.actor]
        silenced[events.completion[counts & out]] = True
        counts = counts & ~out
    kinds = _kinds(log.signals)
    verdicts = _Verdicts([_verdict(policy, body, context) for body in log.signals])
    counted = _latest(_final(events, counts, verdicts, kinds["kind"].to_numpy(), context), verdicts)
    return Labelled(
        completions=_completions(log.completions, counted, verdicts, silenced),
        votes=_votes(counted, verdicts),
        rewrites=_rewrites(policy.signals.edit, log, events, counts),
        said=_said(kinds, events.where(counts) if said else events.where(slice(0)), verdicts),
        actors=log.actors,
    )


def _votes(votes: Events, verdicts: "_Verdicts") -> pl.DataFrame:
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


def _said(kinds: pl.DataFrame, events: "Events", verdicts: "_Verdicts") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "kind": kinds["kind"].gather(events.signal),
            "detail": kinds["detail"].gather(events.signal),
            "completion": events.completion,
            "says": verdicts.reason.gather(events.signal),
        }
    )


class _Verdicts:
    """What each different signal says, in its place. `order` puts the heaviest first, as reasons are told."""

    def __init__(self, found: Sequence[Verdict | None]) -> None:
        self.found = found
        self.says = np.array([verdict is not None for verdict in found], dtype=bool)
        self.rank = np.array([verdict.rank if verdict else 0 for verdict in found], dtype=np.int8)
        self.desirable = np.array([bool(verdict and verdict.desirable) for verdict in found], dtype=bool)
        self.weight = np.array([verdict.weight if verdict else 0 for verdict in found], dtype=np.int32)
        self.reason = pl.Series([verdict.reason if verdict else None for verdict in found], dtype=NAME)
        told = sorted({(-verdict.weight, verdict.rank, verdict.reason) for verdict in found if verdict})
        self.reasons = [reason for _, _, reason in told]
        place = {one: number for number, one in enumerate(told)}
        self.order = np.array(
            [place[-verdict.weight, verdict.rank, verdict.reason] if verdict else 0 for verdict in found],
            dtype=np.uint32,
        )


def _verdict(policy: wire.LabelPolicy, body: Mapping[str, Any], context: Context) -> Verdict | None:
    if body["kind"] != "edit":
        return one.of_signal(policy, body, context)
    severity = body["severity"]
    return None if severity == UNKNOWN_EDIT else one.of_edit(policy, severity)


def _kinds(signals: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(
        {"kind": [body["kind"] for body in signals], "detail": [_detail(body) for body in signals]},
        schema={"kind": pl.String, "detail": pl.String},
    )


def _detail(body: Mapping[str, Any]) -> str | None:
    match body["kind"]:
        case "thumbs":
            return str(body["value"])
        case "edit":
            return str(body["severity"])
        case "rating":
            return f"{one.place(body):g}"
        case "outcome":
            return f"{body['name']} {str(body['value']).lower()}"
        case "flag":
            return ", ".join(body["flags"])
        case _:
            return None


def _final(
    events: Events, counts: NDArray[np.bool_], verdicts: _Verdicts, kind: NDArray[np.object_], context: Context
) -> Events:
    """Of the events that count those that have a verdict whose window, if it has one, is over, without what would take
    it away in it."""
    final = counts & verdicts.says[events.signal]
    for signal, verdict in enumerate(verdicts.found):
        if verdict is not None and verdict.unless is not None:
            waiting = np.flatnonzero(final & (events.signal == signal))
            objections = events.where(counts & (kind == verdict.unless)[events.signal])
            final[waiting[~_unopposed(events.where(waiting), objections, verdict, context)]] = False
    return events.where(final)


def _unopposed(waiting: Events, objections: Events, verdict: Verdict, context: Context) -> NDArray[np.bool_]:
    """Which windows are over, and saw no objection to the same completion."""
    end = waiting.moment + verdict.within // timedelta(microseconds=1)
    pairs = (
        _frame(waiting, "completion", "moment", "position")
        .with_columns(pl.Series("end", end))
        .with_row_index("row")
        .join(_frame(objections, "completion", "moment", "position"), on="completion")
        .filter(
            (pl.col("moment_right") <= pl.col("end"))
            & (
                (pl.col("moment_right") > pl.col("moment"))
                | ((pl.col("moment_right") == pl.col("moment")) & (pl.col("position_right") > pl.col("position")))
            )
        )
    )
    fine = end <= microseconds(context.as_of)
    fine[pairs["row"].to_numpy()] = False
    return fine


def _latest(events: Events, verdicts: _Verdicts) -> Events:
    """One event of each actor about each completion: of the lowest rank, the latest."""
    pair = events.completion.astype(np.int64) << 32 | events.actor
    # The last of each pair in this order.
    order = np.lexsort((events.position, events.moment, -verdicts.rank[events.signal], pair))
    pair = pair[order]
    return events.where(order[np.append(pair[1:] != pair[:-1], True)[: len(pair)]])


def _completions(
    completions: pl.DataFrame, votes: Events, verdicts: _Verdicts, silenced: NDArray[np.bool_]
) -> pl.DataFrame:
    """The heavier side of each completion, at the weight of its heaviest verdict, with its reasons, heaviest first."""
    desirable, weight = verdicts.desirable[votes.signal], verdicts.weight[votes.signal]
    many = len(completions)
    # Sums of thousandths are whole numbers far below 2^53: exact as floats, in any order.
    up = np.bincount(votes.completion[desirable], weight[desirable], many)
    down = np.bincount(votes.completion[~desirable], weight[~desirable], many)
    label = pl.Series(up > down).set(pl.Series(up == down), None)
    won = (desirable == (up > down)[votes.completion]) & (up != down)[votes.completion]
    heaviest = np.zeros(many, dtype=np.int32)
    np.maximum.at(heaviest, votes.completion[won], weight[won])
    told = [*verdicts.reasons, TIE, NO_VERDICT, QUARANTINED]
    tie, no_verdict, quarantined = range(len(verdicts.reasons), len(told))
    reason, offsets = _in_order(votes.completion[won], verdicts.order[votes.signal][won], many)
    nothing = np.where(up > 0, tie, np.where(silenced, quarantined, no_verdict))
    lists = np.diff(offsets) == 0
    first = nothing.copy()
    first[~lists] = reason[offsets[:-1][~lists]]
    names = pl.Series(told, dtype=NAME)
    filled = np.insert(reason, offsets[:-1][lists], nothing[lists]).astype(np.int64)
    ends = offsets + np.concatenate(([0], np.cumsum(lists)))
    return completions.with_columns(
        label.alias("label"),
        pl.Series("weight", heaviest),
        names.gather(first).alias("reason"),
        _lists(names.gather(filled), ends).alias("reasons"),
    )


def _in_order(group: NDArray[Any], value: NDArray[Any], groups: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The different values of each group in ascending order, and where each group's begin and end."""
    both = np.sort(group.astype(np.int64) << 32 | value)
    both = both[np.append(True, both[1:] != both[:-1])[: len(both)]]
    sizes = np.bincount(both >> 32, minlength=groups)
    return both & 0xFFFFFFFF, np.concatenate(([0], np.cumsum(sizes)))


def _lists(values: pl.Series, offsets: NDArray[np.int64]) -> pl.Series:
    return pl.Series(pa.LargeListArray.from_arrays(pl.Series(offsets).to_arrow(), values.to_arrow()))


def _rewrites(rule: wire.EditRule, log: Log, events: Events, counts: NDArray[np.bool_]) -> pl.DataFrame:
    """The last edit of each actor where its text is a row; the same text once for a completion, from where it stood
    first, at the weight of its heaviest."""
    is_edit = np.array([body["kind"] == "edit" for body in log.signals], dtype=bool)
    weights = [one.rewrite_weight(rule, body["severity"]) if body["kind"] == "edit" else None for body in log.signals]
    weight = np.array([0 if one is None else round(one * THOUSANDTHS) for one in weights], dtype=np.int32)
    edits = events.where(counts & is_edit[events.signal])
    edits = edits.where(edits.order())
    pair = edits.completion.astype(np.int64) << 32 | edits.actor
    _, last = np.unique(pair[::-1], return_index=True)
    edits = edits.where(len(pair) - 1 - last)
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
            pl.col("actor").sort().alias("actors"),
        )
        .sort("completion", "position")
    )


def _frame(events: Events, *names: str) -> pl.DataFrame:
    return pl.DataFrame({name: getattr(events, name) for name in names})


def text_key(text: str) -> bytes:
    """16 bytes that stand for a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def microseconds(moment: datetime) -> int:
    """Since 1970; exact, where a float would round."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
