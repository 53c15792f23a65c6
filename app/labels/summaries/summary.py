"""Summarises a log: the approval of each checkpoint, and the findings on each actor. Pure, except for spilled parts of
a large log.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl
from thumbwheel import wire

from app.labels.resolving import Resolved
from app.labels.whole_log.events import Log
from app.labels.whole_log.labelled import Labelled
from app.statistics.shares import wilson

#: The ids of checkpoints come from the sender, in any number: those with the most labels are kept.
MOST_CHECKPOINTS = 1_000
#: The number of other members of a ring that a finding lists.
RING_NAMED = 20


@dataclass(frozen=True)
class Summary:
    """The figures of a log.

    approvals  one for each checkpoint with completions, without the votes of actors in quarantine, by id
    findings   by actor, regardless of decisions
    """

    approvals: list[wire.Approval]
    findings: Mapping[str, list[wire.QuarantineFinding]]


#: Receives the events and labels of each part of a log while it is summarised, and must not hold them.
Reader = Callable[[Log, Labelled], None]


def summarised(resolved: Resolved, also: Reader | None = None) -> Summary:
    """Returns the figures of a log. Edited texts count for no checkpoint."""
    labels: Counter[tuple[str, bool]] = Counter()
    checkpoints: set[str] = set()
    examples = np.unique(resolved.findings["examples"].explode().drop_nulls().to_numpy())
    names: dict[int, str] = {}
    first = 0
    for log, labelled in resolved.parts():
        if also is not None:
            also(log, labelled)
        del log
        completions = labelled.completions
        counts = completions.drop_nulls("checkpoint_id").group_by("checkpoint_id", "label").len()
        for checkpoint_id, label, count in counts.iter_rows():
            checkpoints.add(checkpoint_id)
            if label is not None:
                labels[checkpoint_id, label] += count
        judged = len(completions) + len(labelled.compared)
        here = examples[(examples >= first) & (examples < first + judged)]
        about = labelled.completion_of(pl.Series(here - first))
        names |= zip(here.tolist(), completions["completion_id"].gather(about), strict=True)
        first += judged
    approvals = [approval(UUID(name), labels[name, True], labels[name, False]) for name in checkpoints]
    most = sorted(approvals, key=lambda row: (-(row.desirable + row.undesirable), row.checkpoint_id))
    return Summary(
        approvals=sorted(most[:MOST_CHECKPOINTS], key=lambda row: row.checkpoint_id),
        findings=_findings(resolved.findings, resolved.actors, names),
    )


def approval(checkpoint_id: UUID, desirable: int, undesirable: int) -> wire.Approval:
    """Returns the share of desirable completions with its Wilson interval, null if none has a label."""
    interval = wilson(desirable, desirable + undesirable)
    return wire.Approval(
        checkpoint_id=checkpoint_id,
        desirable=desirable,
        undesirable=undesirable,
        approval=desirable / (desirable + undesirable) if interval else None,
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
    )


def _findings(
    table: pl.DataFrame, actors: pl.Series, completions: Mapping[int, str]
) -> dict[str, list[wire.QuarantineFinding]]:
    findings: dict[str, list[wire.QuarantineFinding]] = {}
    for row in table.iter_rows(named=True):
        findings.setdefault(actors[row["actor"]], []).append(_finding(row, actors, completions))
    return findings


def _finding(row: Mapping[str, Any], actors: pl.Series, completions: Mapping[int, str]) -> wire.QuarantineFinding:
    figures = {name: value for name, value in row.items() if name not in ("actor", "desirable", "ring", "examples")}
    ring = row["ring"]
    return wire.QuarantineFinding(
        **figures,
        said=_sentence(row),
        label=None if row["desirable"] is None else "desirable" if row["desirable"] else "undesirable",
        ring_size=None if ring is None else len(ring) + 1,
        ring=actors.gather((ring or [])[:RING_NAMED]).to_list(),
        examples=[completions[number] for number in row["examples"]],
    )


def _sentence(row: Mapping[str, Any]) -> str:
    if row["rule"] == "burst":
        return f"{row['votes']} votes within {row['seconds']:g} seconds"
    if row["rule"] == "one_way":
        side = "desirable" if row["desirable"] else "undesirable"
        return f"{row['share']:.1%} of {row['votes']} votes are {side}, of the others' {row['others_share']:.1%}"
    return (
        f"one of {len(row['ring']) + 1} actors who judge the same completions: {row['together']} in common with the "
        f"most similar one, {row['overlap']:.0%} of all that the two judged, with {row['agreement']:.0%} equal votes"
    )
