"""Resolves a log to its labels: finds the actors in quarantine, and applies a policy to all other signals. Snapshots,
approvals, audits and readiness all use it.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sqlalchemy.orm import Session
from thumbwheel import wire

from app import malloc
from app.labels import service as labels
from app.labels.guards.findings import findings
from app.labels.quarantine import service as quarantine
from app.labels.verdicts import Context
from app.labels.whole_log import resolve
from app.labels.whole_log.events import Log
from app.labels.whole_log.labelled import Labelled
from app.labels.whole_log.parts import Logs
from app.spill.batches import Spill

#: Rules that are left out of a pass over the votes.
NO_RINGS, NO_TIMES = {"ring": None}, {"burst": None, "one_way": None}


@dataclass(frozen=True)
class Resolved:
    """The result of applying a policy and its guards to a log.

    policy    the label policy
    context   the facts that it needs in addition to the log
    findings  the findings of its rules on actors: see `FINDINGS`; judged completions are numbered across all parts
    votes     (A,) votes of each actor, including actors in quarantine
    left_out  actors whose signals do not count, with the reasons
    logs      the events
    """

    policy: wire.LabelPolicy
    context: Context
    findings: pl.DataFrame
    votes: NDArray[np.int64]
    left_out: dict[str, tuple[str, ...]]
    logs: Logs

    @property
    def as_of(self) -> datetime:
        """Returns when the newest event of the log was received."""
        return self.context.as_of

    @property
    def actors(self) -> pl.Series:
        """Returns the ids of actors. The numbers of actors in every part are rows of it."""
        return self.logs.actors

    @property
    def votes_left_out(self) -> int:
        """Returns the number of votes that do not count, as their actors are in quarantine."""
        return int(self.votes[self.actors.is_in(list(self.left_out)).to_numpy()].sum())

    def parts(self) -> Iterator[tuple[Log, Labelled]]:
        """Yields the events and labels of each part. It can be called repeatedly. Release a part before you take the
        next: only the caller holds it in memory.
        """
        without = sorted(self.left_out)
        for number in range(len(self.logs)):
            log = self.logs.part(number)
            labelled = resolve.resolve(self.policy, log, self.context, without)
            yield log, labelled
            del log, labelled


@contextmanager
def resolved(
    session: Session,
    project: str,
    policy: wire.LabelPolicy,
    watermark: int,
    *,
    keep: bool = True,
    near: Path | None = None,
    part: int = labels.PART,
    segments: Sequence[str] = (),
) -> Iterator[Resolved]:
    """Yields the result of applying `policy` to the log up to `watermark` without actors in quarantine. The log is read
    once. For `keep`, `near`, `part` and `segments` see `labels.logs`.
    """
    context = labels.context(session, project, policy, watermark)
    with labels.logs(session, project, policy, watermark, keep=keep, near=near, part=part, segments=segments) as logs:
        table, votes = _findings(policy, logs, context, near)
        left_out = quarantine.reasons(session, project, table, logs.actors)
        yield Resolved(policy, context, table, votes, left_out, logs)


def _findings(
    policy: wire.LabelPolicy, logs: Logs, context: Context, near: Path | None
) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    """Returns the findings of the rules, see `FINDINGS`, and the number of each actor's votes.

    Votes of several parts stay on disk until all are known. Rings need the most memory, so they are searched for
    without the moments, which are half of a vote's memory.
    """
    rules = policy.guards.quarantine
    if len(logs) == 1:
        votes = resolve.judgements(policy, logs.part(0), context)
        return findings(votes, rules), _counts(votes, len(logs.actors))
    judged, counts = 0, np.zeros(len(logs.actors), dtype=np.int64)
    with closing(Spill(near)) as spilled:
        for number in range(len(logs)):
            log = logs.part(number)
            votes = resolve.judgements(policy, log, context).with_columns(pl.col("judged") + judged)
            judged += len(log.completions) + len(log.compared.row)
            del log
            counts += _counts(votes, len(counts))
            spilled.keep_frame("votes", 0, votes)
        del votes
        malloc.give_back()
        without_moments = spilled.frame("votes", 0, "actor", "judged", "desirable", "compared")
        rings = findings(without_moments, rules.model_copy(update=NO_TIMES))
        del without_moments
        malloc.give_back()
        others = findings(spilled.frame("votes", 0), rules.model_copy(update=NO_RINGS))
        return pl.concat([rings, others]).sort("actor", "rule"), counts


def _counts(votes: pl.DataFrame, actors: int) -> NDArray[np.int64]:
    return np.bincount(votes["actor"].to_numpy(), minlength=actors).astype(np.int64)
