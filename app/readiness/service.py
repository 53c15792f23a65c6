"""Decides whether the feedback is ready for a snapshot to train on.

A request reads a small log itself and stores nothing. A large log takes seconds, so the loop reads it in the background
(`refresh`) and no request does. The result may then be a little older than the log; its watermark shows up to where it
goes.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from time import perf_counter
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire
from thumbwheel.wire.recipe import ObjectiveName, PairsFrom, Recipe, WeighUp

from app.database import now
from app.errors import Unavailable
from app.labels import service as labels
from app.labels.policies import service as policies
from app.labels.quarantine import service as quarantine
from app.projects import service as projects
from app.readiness import store
from app.snapshots import service as snapshots
from app.snapshots.balance import writers as writing
from app.snapshots.balance.enough import undecided_by_gates
from app.snapshots.balance.plan import Cell, plan
from app.snapshots.balance.spread import Spread, notices
from app.snapshots.rows_from_log import DEFAULT_PAIRS

#: The version of stored forecasts: a forecast that an older server stored is computed again.
VERSION = 4
DEFAULT_WEIGH_UP: WeighUp = Recipe.model_fields["weigh_up"].default
#: The code of the error before a large log has been read.
PENDING = "readiness_pending"
#: The largest share of the time that is spent on reading a log again.
PART = 0.05


def readiness(
    session: Session,
    project: str,
    rules: wire.SnapshotRules,
    gates: wire.GateDocument,
    objective: ObjectiveName,
    *,
    watermark: int,
    since: int,
    shipped_checkpoint_id: UUID | None,
    pairs: PairsFrom = DEFAULT_PAIRS,
    weigh_up: WeighUp = DEFAULT_WEIGH_UP,
) -> wire.Readiness:
    """Returns whether the feedback up to `watermark` would make a snapshot that `objective` can learn from, with
    `pairs`; also what is missing, what is new after `since`, and the λ of `weigh_up`. Too small a holdout for `gates`
    is a notice. A large log counts up to where the loop read it last.

    Raises `Unavailable` if the loop has not read a large log yet, or not since the rules, the policy or another part
    of the basis changed.
    """
    if is_large(session, project):
        stored = store.kept(session, project)
        basis = _basis(session, project, rules, shipped_checkpoint_id)
        if stored is None or stored.basis != basis or not _tells_new(stored.found, since):
            raise _pending()
        forecast: Mapping[str, Any] = stored.found
    else:
        forecast = _look(session, project, rules, watermark, since, shipped_checkpoint_id, store_new=False)
    return _shown(forecast, rules, gates, objective, pairs, weigh_up, since, shipped_checkpoint_id)


def is_large(session: Session, project: str) -> bool:
    """Returns whether the log is read in the background."""
    return labels.is_large(session, project)


def reach(session: Session, project: str, watermark: int) -> int:
    """Returns the position up to which `readiness` counts when the log ends at `watermark`."""
    stored = store.kept(session, project)
    if stored is None or not is_large(session, project):
        return watermark
    reached: int = stored.found["watermark"]
    return reached


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
    stored = store.kept(session, project)
    if stored is not None and stored.basis == basis and _tells_new(stored.found, since):
        resting = timedelta(seconds=stored.found["seconds"] / PART)
        if stored.found["watermark"] == watermark or now() - stored.at < resting:
            return False
    forecast = _look(session, project, rules, watermark, since, shipped_checkpoint_id, store_new=True)
    store.keep(session, project, basis, forecast)
    return True


def stored_counts(session: Session) -> dict[str, tuple[wire.ClassCounts, wire.ClassCounts]]:
    """Returns the labels of each large log by class, and those since its last run, as the loop last read it."""
    return {
        project: (wire.ClassCounts(**counts), wire.ClassCounts(**new))
        for project, counts, new in store.kept_counts(session)
    }


def _pending() -> Unavailable:
    return Unavailable(
        "Readiness is being computed: a large log is read in the background. Try again in a moment; if this lasts, "
        "`thumbwheel doctor` shows whether the loop still runs.",
        code=PENDING,
    )


def _basis(
    session: Session, project: str, rules: wire.SnapshotRules, shipped_checkpoint_id: UUID | None
) -> dict[str, Any]:
    """Returns all inputs of the forecast except for the log."""
    adopted = policies.adopted(session, project)
    return {
        "version": VERSION,
        "rules": rules.model_dump(mode="json", include={"events", "holdout_share", "holdout_days", "disjoint_actors"}),
        "shipped": str(shipped_checkpoint_id) if rules.events == "shipped" else None,
        "policy": adopted.sha256,
        "decisions": quarantine.decisions(session, project),
        "erasures": projects.erasures(session, project),
    }


def _tells_new(forecast: Mapping[str, Any], since: int) -> bool:
    return forecast["since"] == since or forecast["watermark"] <= since


def _look(
    session: Session,
    project: str,
    rules: wire.SnapshotRules,
    watermark: int,
    since: int,
    shipped_checkpoint_id: UUID | None,
    *,
    store_new: bool,
) -> dict[str, Any]:
    began = perf_counter()
    forecast = snapshots.forecast(
        session,
        project,
        rules,
        watermark=watermark,
        since=since,
        shipped_checkpoint_id=shipped_checkpoint_id,
        store_new=store_new,
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
        "ages": forecast.ages.model_dump(),
        "quarantine": forecast.quarantine.model_dump(),
        "seconds": perf_counter() - began,
    }


def _shown(
    forecast: Mapping[str, Any],
    rules: wire.SnapshotRules,
    gates: wire.GateDocument,
    objective: ObjectiveName,
    pairs: PairsFrom,
    weigh_up: WeighUp,
    since: int,
    shipped_checkpoint_id: UUID | None,
) -> wire.Readiness:
    usable = snapshots.usable_pairs(forecast["pairs_by_source"], pairs)
    cells = [Cell(**cell) for cell in forecast["cells"]]
    planned = plan(cells, pairs=usable, weigh_up=weigh_up)
    writers = writing.writers_of(cells, shipped_checkpoint_id, wire.FeedbackAges(**forecast["ages"]))
    holdout = wire.HoldoutForecast(**forecast["holdout"])
    quarantine = wire.QuarantineForecast(**forecast["quarantine"])
    refusals = snapshots.refusals_of(planned, forecast["capped"], rules, objective)
    undecided = undecided_by_gates(holdout, gates, rules.holdout_share)
    nothing = wire.ClassCounts(desirable=0, undesirable=0, nothing=0)
    return wire.Readiness(
        ready=not refusals,
        counts=wire.ClassCounts(**forecast["counts"]),
        new_counts=wire.ClassCounts(**forecast["new"]) if forecast["since"] == since else nothing,
        reasons=[refusal.reason for refusal in refusals],
        refusals=refusals,
        plan=planned,
        writers=writers,
        lambda_desirable=planned.lambda_desirable,
        lambda_undesirable=planned.lambda_undesirable,
        pairs=usable,
        holdout=holdout,
        quarantine=quarantine,
        notices=[
            *undecided,
            *writing.notices(writers, rules.minimum_per_class),
            *notices(Spread(**forecast["spread"]), quarantine),
        ],
        undecided=undecided,
        watermark=forecast["watermark"],
    )
