"""Whether a snapshot could be made that is worth learning from; at any time, and at once.

A small log is read by the request. To read a large one takes seconds: the loop does that in the background (`refresh`),
no request does, and what is shown may be a little older than the log: it says up to where it goes.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from time import perf_counter
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.database import now
from app.errors import Unavailable
from app.labels import service as labels
from app.labels.policies import service as policies
from app.labels.quarantine import service as quarantine
from app.projects import service as projects
from app.readiness import store
from app.runs.recipe import ObjectiveName, PairsFrom
from app.snapshots import service as snapshots
from app.snapshots.balance.enough import too_little_held_out
from app.snapshots.balance.plan import Cell, plan
from app.snapshots.balance.spread import Spread, notices

#: Of what is kept: what an older server kept is worked out again.
VERSION = 3
#: The code of the error while a large log is yet to be read.
PENDING = "readiness_pending"
#: The share of the time that may go into reading a log again and again.
PART = 0.05


def readiness(
    session: Session,
    project: str,
    rules: wire.SnapshotRules,
    gates: wire.Gates,
    objective: ObjectiveName,
    *,
    watermark: int,
    since: int,
    shipped_checkpoint_id: UUID | None,
    pairs: PairsFrom = snapshots.DEFAULT_PAIRS,
) -> wire.Readiness:
    """Returns whether the feedback would make a snapshot that `objective` can learn from, with `pairs`; what is
    missing, and what is new after `since`. Up to `watermark`; of a large log up to where the loop read it last.

    Raises `Unavailable` where the loop has not read a large log yet, or not since what decides has changed.
    """
    if is_large(session, project):
        kept = store.kept(session, project)
        basis = _basis(session, project, rules, shipped_checkpoint_id)
        if kept is None or kept.basis != basis or not _tells_new(kept.found, since):
            raise _pending()
        found: Mapping[str, Any] = kept.found
    else:
        found = _look(session, project, rules, watermark, since, shipped_checkpoint_id)
    return _shown(found, rules, gates, objective, pairs, since)


def is_large(session: Session, project: str) -> bool:
    """Whether the log is looked at in the background."""
    return labels.is_large(session, project)


def reach(session: Session, project: str, watermark: int) -> int:
    """Up to where `readiness` looks when the log ends at `watermark`."""
    kept = store.kept(session, project)
    if kept is None or not is_large(session, project):
        return watermark
    found: int = kept.found["watermark"]
    return found


def refresh(
    session: Session,
    project: str,
    rules: wire.SnapshotRules,
    *,
    watermark: int,
    since: int,
    shipped_checkpoint_id: UUID | None,
) -> bool:
    """Reads a large log again if something is new in it and it was not read just now; returns whether it was read."""
    basis = _basis(session, project, rules, shipped_checkpoint_id)
    kept = store.kept(session, project)
    if kept is not None and kept.basis == basis and _tells_new(kept.found, since):
        resting = timedelta(seconds=kept.found["seconds"] / PART)
        if kept.found["watermark"] == watermark or now() - kept.at < resting:
            return False
    store.keep(session, project, basis, _look(session, project, rules, watermark, since, shipped_checkpoint_id))
    return True


def _pending() -> Unavailable:
    return Unavailable(
        "Readiness is being worked out: a large log is read in the background. Try again in a moment; where this goes "
        "on, `thumbwheel doctor` says whether the loop still runs.",
        code=PENDING,
    )


def _basis(
    session: Session, project: str, rules: wire.SnapshotRules, shipped_checkpoint_id: UUID | None
) -> dict[str, Any]:
    """All but the log that it rests on."""
    adopted = policies.adopted(session, project)
    return {
        "version": VERSION,
        "rules": rules.model_dump(mode="json", include={"events", "holdout_share", "holdout_days", "disjoint_actors"}),
        "shipped": str(shipped_checkpoint_id) if rules.events == "shipped" else None,
        "policy": adopted.sha256,
        "decisions": quarantine.decisions(session, project),
        "erasures": projects.erasures(session, project),
    }


def _tells_new(found: Mapping[str, Any], since: int) -> bool:
    return found["since"] == since or found["watermark"] <= since


def _look(
    session: Session,
    project: str,
    rules: wire.SnapshotRules,
    watermark: int,
    since: int,
    shipped_checkpoint_id: UUID | None,
) -> dict[str, Any]:
    began = perf_counter()
    forecast = snapshots.forecast(
        session, project, rules, watermark=watermark, since=since, shipped_checkpoint_id=shipped_checkpoint_id
    )
    return {
        "watermark": watermark,
        "since": since,
        "counts": forecast.counts.model_dump(),
        "new": forecast.new.model_dump(),
        "cells": [asdict(cell) for cell in forecast.cells],
        "pairs_by_source": forecast.pairs,
        "capped": forecast.capped,
        "holdout": forecast.holdout.model_dump(),
        "spread": asdict(forecast.spread),
        "quarantine": forecast.quarantine.model_dump(),
        "seconds": perf_counter() - began,
    }


def _shown(
    found: Mapping[str, Any],
    rules: wire.SnapshotRules,
    gates: wire.Gates,
    objective: ObjectiveName,
    pairs: PairsFrom,
    since: int,
) -> wire.Readiness:
    usable = snapshots.usable_pairs(found["pairs_by_source"], pairs)
    planned = plan((Cell(**cell) for cell in found["cells"]), pairs=usable)
    holdout = wire.HoldoutForecast(**found["holdout"])
    quarantine = wire.QuarantineForecast(**found["quarantine"])
    refusals = snapshots.refusals_of(planned, found["capped"], rules, objective)
    refusals += too_little_held_out(holdout, gates, rules.holdout_share)
    nothing = wire.ClassCounts(desirable=0, undesirable=0, nothing=0)
    return wire.Readiness(
        ready=not refusals,
        counts=wire.ClassCounts(**found["counts"]),
        new_counts=wire.ClassCounts(**found["new"]) if found["since"] == since else nothing,
        reasons=[refusal.reason for refusal in refusals],
        refusals=[wire.Refusal(**asdict(refusal)) for refusal in refusals],
        plan=wire.BalancePlan.model_validate(planned.document()),
        lambda_desirable=planned.lambda_desirable,
        lambda_undesirable=planned.lambda_undesirable,
        pairs=usable,
        holdout=holdout,
        quarantine=quarantine,
        notices=notices(Spread(**found["spread"]), quarantine),
        watermark=found["watermark"],
    )
