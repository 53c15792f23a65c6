"""Measures what users think of each release. The loop stores it with each reading of the log; requests read no log."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.database import now
from app.feedback.reading.completions import service as completions
from app.labels.summaries import service as summaries
from app.monitoring.approval import store
from app.monitoring.approval.collect import Collected
from app.monitoring.approval.comparisons import comparison, document, pairs
from app.monitoring.approval.segments import label_share, segmented
from app.monitoring.approval.tables import LabelsOfRelease, ReleaseReading
from app.monitoring.exposures import service as exposures
from app.monitoring.exposures.outputs import Outputs
from app.projects import service as projects
from app.releases import service as releases
from app.releases.periods import Period, periods
from app.statistics.total_variation import noise_of_total_variation, total_variation

#: The newest entries of the ledger that are looked at, and the newest releases that are shown.
ENTRIES, SHOWN = 200, 20
#: The values of a key that are shown; the others are the rest.
VALUES = 20


class Votes(NamedTuple):
    """The votes as they were last read.

    ledger       the newest release at that time; None before the first reading
    comparisons  as `comparisons.comparison` takes them
    """

    ledger: int | None
    comparisons: Sequence[dict[str, Any]]
    watermark: int


def read(session: Session, project: str) -> bool:
    """Reads the log if something is new in it, the ledger or the keys, for the summary of its labels, too. Returns
    whether it was read.
    """
    keys = projects.get(session, project).monitoring.segments
    ledger = releases.ledger(session, project, ENTRIES)
    known = periods(ledger)
    compared = pairs(known)
    arms = [arm for pair in compared for arm in (pair.release, pair.other)]
    collected = Collected(known[-SHOWN:], arms, len(keys))
    before = store.reading(session, project)
    changed = before is None or (before.ledger, before.keys) != (ledger[-1].number, keys)
    if not summaries.refresh(session, project, changed=changed, segments=keys, also=collected):
        return False
    votes = collected.arms()
    reading = {
        "watermark": summaries.read_up_to(session, project),
        "ledger": ledger[-1].number,
        "keys": keys,
        "comparisons": [
            document(pair, votes[2 * number], votes[2 * number + 1]) for number, pair in enumerate(compared)
        ],
        "read_at": now(),
    }
    store.put(session, project, reading, _rows(session, project, known[-SHOWN:], keys, collected))
    return True


def count_exposures(session: Session, project: str) -> None:
    """Counts the outputs of releases that are new since the last call, up to a number of them."""
    keys = projects.get(session, project).monitoring.segments
    exposures.count(session, project, periods(releases.ledger(session, project, ENTRIES)), keys)


def votes(session: Session, project: str) -> Votes:
    """Returns the votes of the last reading with the adopted policy and all decisions."""
    reading = _current(session, project)
    return Votes(None, (), 0) if reading is None else Votes(reading.ledger, reading.comparisons, reading.watermark)


def approvals(session: Session, project: str) -> wire.ReleaseApprovals:
    """Returns what users think of the newest releases, without what the rule of automatic rollback says. Raises
    `NotFound`.
    """
    reading = _current(session, project)
    known = {period.number: period for period in periods(releases.ledger(session, project, ENTRIES))}
    if reading is None:
        return wire.ReleaseApprovals(project=project, read_at=None, releases=[], rollback=None)
    rows = [row for row in store.labels(session, project) if row.release_number in known]
    outputs = exposures.of_releases(session, project, [row.release_number for row in rows], reading.keys)
    compared = {item.release.release_number: item for item in map(comparison, reading.comparisons)}
    return wire.ReleaseApprovals(
        project=project,
        read_at=reading.read_at,
        releases=[
            _shown(
                known[row.release_number],
                row,
                reading.keys,
                None if outputs is None else outputs.get(row.release_number),
                compared.get(row.release_number),
            )
            for row in rows
        ],
        rollback=None,
    )


def forget(session: Session, project: str) -> bool:
    """Deletes what may contain values of erased events and completions; the loop reads and counts the others again.
    Returns whether there were any values.
    """
    reading = store.reading(session, project)
    store.forget(session, project)
    return exposures.forget(session, project) or bool(reading and reading.keys)


def _current(session: Session, project: str) -> ReleaseReading | None:
    return store.reading(session, project) if summaries.is_current(session, project) else None


def _rows(
    session: Session, project: str, known: Sequence[Period], keys: Sequence[str], collected: Collected
) -> list[dict[str, Any]]:
    segments = {key: _cells(session, project, key, number, collected) for number, key in enumerate(keys)}
    rows = []
    for period in known:
        labels = collected.labels[period.number]
        before = collected.labels.get(period.before or 0)
        distance = None if before is None else total_variation(labels.reasons, before.reasons)
        noise = None if before is None else noise_of_total_variation(labels.reasons, before.reasons)
        rows.append(
            {
                "release_number": period.number,
                "desirable": labels.desirable,
                "undesirable": labels.undesirable,
                "voted": labels.voted,
                "reasons": dict(labels.reasons),
                "drift": None
                if distance is None
                else {"before": period.before, "total_variation": distance, "noise": noise},
                "segments": {key: cells.get(period.number, []) for key, cells in segments.items()},
            }
        )
    return rows


def _cells(
    session: Session, project: str, key: str, number: int, collected: Collected
) -> dict[int, list[dict[str, Any]]]:
    """Returns the labels of each release by value of a key: see `segments.segmented`."""
    table, examples = collected.segments(number, VALUES)
    values: dict[int, str | None] = {0: None, **completions.segment_values(session, project, key, examples)}
    by_release: dict[int, dict[tuple[str | None, bool], dict[str, Any]]] = {}
    for row in table.iter_rows(named=True):
        rest = row["value"] not in values
        value = None if rest else values[row["value"]]
        cell = by_release.setdefault(row["period"], {}).setdefault(
            (value, rest), {"value": value, "rest": rest, "desirable": 0, "undesirable": 0}
        )
        cell["desirable"] += row["desirable"]
        cell["undesirable"] += row["undesirable"]
    return {release: list(cells.values()) for release, cells in by_release.items()}


def _shown(
    period: Period,
    row: LabelsOfRelease,
    keys: Sequence[str],
    outputs: Outputs | None,
    compared: wire.ReleaseComparison | None,
) -> wire.ReleaseApproval:
    return wire.ReleaseApproval.model_validate(
        {
            **label_share(row.desirable, row.undesirable),
            "release_number": period.number,
            "checkpoint_id": period.checkpoint_id,
            "action": period.action,
            "since": period.begins,
            "until": period.ends,
            "reasons": row.reasons,
            "exposures": None if outputs is None else outputs.total,
            "voted_share": None if outputs is None else min(1.0, row.voted / outputs.total),
            "segments": [segmented(key, row.segments.get(key, []), outputs) for key in keys],
            "drift": row.drift,
            "comparison": compared,
        }
    )
