"""Actors in quarantine as an operator sees them: what was found, and what was decided."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy.orm import Session
from thumbwheel import wire

from app import memory
from app.errors import NotFound
from app.feedback import service as feedback
from app.labels import service as labels
from app.labels import sets
from app.labels.guards.quarantine import findings as found_in
from app.labels.parts import Logs
from app.labels.policies import service as policies
from app.labels.policy import Context
from app.labels.quarantine import service
from app.labels.sets import Labelled, Log
from app.labels.spill import Spill
from app.schema import Page, decode_cursor, page_of

#: So many of the others in a ring are named.
RING_NAMED = 20
#: Rules that are not looked at.
NO_RINGS, NO_TIMES = {"ring": None}, {"burst": None, "one_way": None}


def findings(
    session: Session, project: str, policy: wire.LabelPolicy, watermark: int
) -> dict[str, list[wire.QuarantineFinding]]:
    """What the rules of `policy` find in the log up to `watermark`, by actor; whatever was decided."""
    labelled = labels.resolve_all(session, project, policy, watermark=watermark)
    found: dict[str, list[wire.QuarantineFinding]] = {}
    for row in found_in(labelled.votes, policy.guards.quarantine).to_dicts():
        found.setdefault(labelled.actors[row["actor"]], []).append(_finding(row, labelled))
    return found


def left_out(session: Session, project: str, policy: wire.LabelPolicy, watermark: int) -> dict[str, tuple[str, ...]]:
    """Actors whose signals up to `watermark` do not count by `policy`, with the reasons."""
    labelled = labels.resolve_all(session, project, policy, watermark=watermark)
    return service.left_out(session, project, policy, labelled)


@dataclass(frozen=True)
class Resolved:
    """A log as a policy and its guards read it.

    policy    the one that does
    context   what it needs beside the log
    left_out  actors whose signals do not count, with the reasons
    logs      all that was said
    """

    policy: wire.LabelPolicy
    context: Context
    left_out: dict[str, tuple[str, ...]]
    logs: Logs

    @property
    def as_of(self) -> datetime:
        """The end of the log."""
        return self.context.as_of

    @property
    def actors(self) -> pl.Series:
        """Ids; the numbers of actors in every part are places in it."""
        return self.logs.actors

    def parts(self) -> Iterator[tuple[Log, Labelled]]:
        """What was said, and what counts of it, completions part by part; as often as you like. Let go of one part
        before you ask for the next: nothing else holds it."""
        without = sorted(self.left_out)
        for number in range(len(self.logs)):
            log = self.logs.part(number)
            labelled = sets.resolve(self.policy, log, self.context, without)
            yield log, labelled
            del log, labelled


@contextmanager
def resolved(
    session: Session,
    project: str,
    policy: wire.LabelPolicy,
    watermark: int,
    *,
    near: Path | None = None,
    part: int = labels.PART,
) -> Iterator[Resolved]:
    """What `policy` makes of the log up to `watermark` without those in quarantine; read once. For `near` and `part`
    see `labels.logs`."""
    context = labels.context(session, project, policy, watermark)
    with labels.logs(session, project, policy, watermark, keep=True, near=near, part=part) as logs:
        found = service.reasons(session, project, _found(policy, logs, context, near), logs.actors)
        yield Resolved(policy, context, found, logs)


def _found(policy: wire.LabelPolicy, logs: Logs, context: Context, near: Path | None) -> pl.DataFrame:
    """What the rules find: see `FINDINGS`. Votes of several parts are on disk until all are known, and rings, which
    need the most memory, are looked for without the moments, which are half of what votes take."""
    rules = policy.guards.quarantine
    if len(logs) == 1:
        return found_in(sets.votes(policy, logs.part(0), context), rules)
    completions = 0
    with closing(Spill(near)) as kept:
        for number in range(len(logs)):
            log = logs.part(number)
            votes = sets.votes(policy, log, context).with_columns(pl.col("completion") + completions)
            completions += len(log.completions)
            del log
            kept.keep_frame("votes", 0, votes)
        del votes
        memory.give_back()
        rings = found_in(kept.frame("votes", 0, "actor", "completion", "desirable"), rules.model_copy(update=NO_TIMES))
        memory.give_back()
        others = found_in(kept.frame("votes", 0), rules.model_copy(update=NO_RINGS))
        return pl.concat([rings, others]).sort("actor", "rule")


def page(
    session: Session,
    project: str,
    *,
    state: wire.QuarantineState | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[wire.QuarantinedActor]:
    """Actors that were found or decided on, by their ids; `state`: only those in it."""
    after = decode_cursor(cursor)
    actors = [one for one in _actors(session, project) if state in (None, one.state)]
    rest = [one for one in actors if after is None or one.actor > after]
    return page_of(rest[: limit + 1], limit, lambda one: one.actor, lambda one: one)


def get(session: Session, project: str, actor: str) -> wire.QuarantinedActor:
    """Raises `NotFound` where the actor was neither found nor decided on: all votes count."""
    for one in _actors(session, project):
        if one.actor == actor:
            return one
    raise NotFound(
        f"No rule finds the actor {actor!r}, and nothing was decided: the votes count.", code="actor_not_quarantined"
    )


def _actors(session: Session, project: str) -> list[wire.QuarantinedActor]:
    policy = policies.adopted(session, project).policy
    found = findings(session, project, policy, feedback.watermark(session, project))
    decisions = service.newest(session, project)
    return [
        wire.QuarantinedActor(
            actor=actor,
            state=decisions[actor].decision if actor in decisions else "quarantined",
            findings=found.get(actor, []),
            decision=decisions.get(actor),
        )
        for actor in sorted(found.keys() | decisions.keys())
    ]


def _finding(row: Mapping[str, Any], labelled: Labelled) -> wire.QuarantineFinding:
    figures = {name: value for name, value in row.items() if name not in ("actor", "desirable", "ring", "examples")}
    ring = row["ring"]
    return wire.QuarantineFinding(
        **figures,
        said=_sentence(row),
        label=None if row["desirable"] is None else "desirable" if row["desirable"] else "undesirable",
        ring_size=None if ring is None else len(ring) + 1,
        ring=_named(labelled.actors, (ring or [])[:RING_NAMED]),
        examples=_named(labelled.completions["completion_id"], row["examples"]),
    )


def _named(ids: pl.Series, numbers: list[int]) -> list[str]:
    named: list[str] = ids.gather(numbers).to_list()
    return named


def _sentence(row: Mapping[str, Any]) -> str:
    if row["rule"] == "burst":
        return f"{row['votes']} votes within {row['seconds']:g} seconds"
    if row["rule"] == "one_way":
        side = "desirable" if row["desirable"] else "undesirable"
        return f"{row['share']:.1%} of {row['votes']} votes are {side}, of the others' {row['others_share']:.1%}"
    return (
        f"one of {len(row['ring']) + 1} who judge the same completions: {row['together']} in common with the one most "
        f"alike, {row['overlap']:.0%} of all that the two judged, {row['agreement']:.0%} of them alike"
    )
