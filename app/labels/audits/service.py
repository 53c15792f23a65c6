"""Audits of labels: people judge a sample, and the precision of the labels follows."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.access.operator_log import service as operator_log
from app.database import now
from app.errors import NotFound, Refused
from app.feedback import service as feedback
from app.feedback.reading.service import LogTexts
from app.labels.audits import store
from app.labels.audits.rows import Labelling, RowTexts, labellings, texts_of
from app.labels.audits.sample import Sample, Stratum, draw, kind_of
from app.labels.audits.shown import VerdictTally, shown_audit, shown_item
from app.labels.audits.store import NO_SUSPICION
from app.labels.audits.tables import LabelAudit, LabelAuditItem
from app.labels.policies import service as policies
from app.labels.policies.documents import sha256_of
from app.labels.resolving import resolved
from app.pages import MAX_INT4, Page, key_of_cursor, number_up_to, page_of

# -- drawn ------------------------------------------------------------------------------------------------------------


def start(session: Session, project: str, new: wire.NewAudit, by: str) -> wire.Audit:
    """Draws a sample of the labels that the adopted policy gives now.

    The same project, watermark, policy and seed give the same rows under the same numbers. Raises `Refused` if a class
    has no row.
    """
    watermark = feedback.watermark(session, project)
    policy = policies.adopted(session, project)
    ours = store.checkpoints_of(session, project)
    texts = LogTexts(session, project, watermark)
    with resolved(session, project, policy.policy, watermark) as log:
        strata = ((_stratum(row, ours), row.completion_id) for row in labellings(log, texts))
        sample = draw(strata, per_class=new.per_class, seed=new.seed)
        # A second pass keeps only the drawn rows: positions and texts of all rows would not fit into memory.
        drawn = [row for row in labellings(log, texts) if row.completion_id in sample.numbers]
    _require_both_classes(sample, project)
    audit = store.insert_audit(
        session,
        {
            "project_id": project,
            "watermark": watermark,
            "policy_name": policy.policy.name,
            "policy_version": policy.version,
            "policy_sha256": policy.sha256,
            "labelling_sha256": _labelling_sha256(policy.policy),
            "seed": new.seed,
            "per_class": new.per_class,
            "rows_desirable": sample.rows[True],
            "rows_undesirable": sample.rows[False],
            "created_by": by,
        },
    )
    operator_log.note(session, audit_id=audit.id)
    looks = texts_of(drawn, texts)
    suspicions = store.suspicions(session, project, [row.completion_id for row in drawn])
    store.insert_items(
        session,
        [
            _item(audit.id, sample.numbers[row.completion_id], row, looks[row.completion_id])
            | {"suspicion": suspicions.get((row.completion_id, row.label))}
            for row in drawn
            if row.completion_id in looks
        ],
    )
    return _shown(session, [audit])[0]


def suspect(session: Session, project: str, checkpoint_id: UUID, rows: Sequence[tuple[str, bool, float]]) -> None:
    """Stores suspicions of a checkpoint about labels that it did not learn from. Later audits show such rows first.

    rows  completion id, its label (true: desirable), and the suspicion, 0 to 1
    """
    store.put_suspicions(session, project, checkpoint_id, rows)


def completions(session: Session, project: str, *, after: str, limit: int) -> Sequence[str]:
    """Returns the first completions after this id, in order, that samples or suspicions have."""
    return store.completions(session, project, after, limit)


def erase(session: Session, project: str, completion_ids: Collection[str]) -> tuple[int, int]:
    """Erases the copies of these completions in samples, and the suspicions about their labels. Returns both counts.

    A verdict stays without its text and note, and so do the figures of an audit. Items without a verdict are deleted.
    """
    items = store.erase_items(session, project, completion_ids)
    return items, store.erase_suspicions(session, project, completion_ids)


# -- read and judged --------------------------------------------------------------------------------------------------


def get(session: Session, project: str, audit_id: UUID) -> wire.Audit:
    """Returns an audit with its figures. Raises `NotFound`."""
    return _shown(session, [_require(session, project, audit_id)])[0]


def page(session: Session, project: str, *, cursor: str | None, limit: int) -> Page[wire.Audit]:
    """Returns the project's audits, newest first."""
    rows = store.newest_first(session, project, key_of_cursor(cursor, UUID), limit + 1)
    shown = {audit.id: audit for audit in _shown(session, rows)}
    return page_of(rows, limit, lambda row: str(row.id), lambda row: shown[row.id])


def items(
    session: Session, project: str, audit_id: UUID, *, pending: bool, cursor: str | None, limit: int
) -> Page[wire.AuditItem]:
    """Returns the items, the most suspicious first, then by number; with `pending`, only those without a verdict.
    Raises `NotFound`.
    """
    _require(session, project, audit_id)
    after = key_of_cursor(cursor, _key)
    rows = store.queue(session, audit_id, pending=pending, after=after, limit=limit + 1)
    shown = {item.number: item for item in _shown_items(session, audit_id, rows)}
    return page_of(rows, limit, _key_of, lambda row: shown[row.number])


def give(
    session: Session, project: str, audit_id: UUID, number: int, new: wire.NewAuditVerdict, by: str
) -> wire.AuditItem:
    """Stores a verdict on a label. A later verdict replaces an earlier one, which stays in the history. The same
    verdict again by the same person changes nothing. Raises `NotFound`.
    """
    _require(session, project, audit_id)
    item = store.locked_item(session, audit_id, number)
    if item is None:
        raise NotFound(
            f"Audit {audit_id} has no item {number}. Its items are listed at /v1/audits/{audit_id}/items.",
            code="audit_item_not_found",
        )
    history = store.verdicts(session, audit_id, [number])
    given = (new.verdict, new.note, by)
    if not history or given != (history[-1].verdict, history[-1].note, history[-1].by):
        store.add_verdict(
            session,
            {
                "audit_id": audit_id,
                "number": number,
                "revision": len(history) + 1,
                "verdict": new.verdict,
                "note": new.note,
                "by": by,
            },
        )
    return _shown_items(session, audit_id, [item])[0]


# -- required ---------------------------------------------------------------------------------------------------------


def reasons_to_refuse(
    session: Session, project: str, adopted: wire.StoredLabelPolicy, as_of: datetime | None = None
) -> list[str]:
    """Returns the reasons why the policy's audit rule does not hold; none if it holds, or there is no rule.

    The newest finished audit counts (every item has a verdict), if it is of the labels that the policy gives now: a
    change of its signals, precedence or guards makes earlier audits void.
    """
    rule = adopted.policy.audit
    if rule is None:
        return []
    moment = (as_of or now()) - timedelta(days=rule.within_days)
    audits = _shown(session, store.since(session, project, moment, _labelling_sha256(adopted.policy)))
    finished = next((audit for audit in audits if audit.pending == 0), None)
    if finished is not None:
        return [reason for part in finished.classes if (reason := _reason(finished, part, rule.minimum_precision))]
    wanted = f"label policy {adopted.policy.name} requires an audit of its labels within {rule.within_days:g} days"
    if audits:
        audit = audits[0]
        waiting = f"{audit.pending} of {audit.items} rows of audit {audit.id} wait for a verdict"
        return [f"{wanted}, and {waiting}: continue with `thumbwheel audit review {audit.id}`"]
    return [f"{wanted}, and there is none: draw one with `thumbwheel audit start`"]


def _reason(audit: wire.Audit, part: wire.AuditClass, minimum: float) -> str | None:
    if part.low is not None and part.low >= minimum:
        return None
    result = (
        f"no {part.label} label of audit {audit.id} was judged right or wrong"
        if part.low is None or part.high is None or part.precision is None
        else f"of the {part.label} labels {part.agreed} of {part.judged} were right in audit {audit.id}: precision "
        f"{part.precision:.3f}, at least {part.low:.3f}"
    )
    return (
        f"{result}, but label policy {audit.policy_name} requires {minimum:g}: correct the policy, then audit again, "
        "with more rows if these were too few: `thumbwheel audit start --per-class`"
    )


# -- inside -----------------------------------------------------------------------------------------------------------


def _stratum(row: Labelling, ours: set[UUID]) -> Stratum:
    """Returns the row's stratum. It ignores checkpoints that the project does not have: each row might name another."""
    return Stratum(row.label, row.checkpoint_id if row.checkpoint_id in ours else None, kind_of(row.reason))


def _item(audit_id: UUID, number: int, row: Labelling, texts: RowTexts) -> dict[str, Any]:
    return {
        "audit_id": audit_id,
        "number": number,
        "completion_id": row.completion_id,
        "prompt": json.loads(texts.prompt),
        "completion": texts.completion,
        "label": row.label,
        "weight": row.weight,
        "reason": row.reason,
        "checkpoint_id": row.checkpoint_id,
    }


def _require_both_classes(sample: Sample, project: str) -> None:
    desirable, undesirable = sample.rows[True], sample.rows[False]
    if not desirable and not undesirable:
        raise Refused(
            f"Project {project} has no labelled row to audit: send feedback, and the texts of the completions.",
            code="nothing_to_audit",
        )
    if not desirable or not undesirable:
        given, missing = ("desirable", "undesirable") if desirable else ("undesirable", "desirable")
        raise Refused(
            f"All {desirable or undesirable} labelled rows of project {project} are {given}, but an audit needs both "
            f"classes: wait for {missing} ones, or check whether the label policy lacks a rule for their signals.",
            code="one_class",
        )


def _labelling_sha256(policy: wire.LabelPolicy) -> str:
    """Returns the hash of the parts of a policy that decide labels: all but its name and audit rule."""
    return sha256_of(policy.model_copy(update={"name": "", "audit": None}))


def _require(session: Session, project: str, audit_id: UUID) -> LabelAudit:
    row = store.of_id(session, project, audit_id)
    if row is None:
        raise NotFound(f"Project {project} has no audit {audit_id}.", code="audit_not_found")
    return row


def _key(text: str) -> tuple[float, int]:
    doubt, number = text.split(":")
    return float(doubt), number_up_to(MAX_INT4)(number)


def _key_of(row: LabelAuditItem) -> str:
    return f"{-(NO_SUSPICION if row.suspicion is None else row.suspicion)!r}:{row.number}"


def _shown(session: Session, rows: Sequence[LabelAudit]) -> list[wire.Audit]:
    tallies: dict[UUID, list[VerdictTally]] = {row.id: [] for row in rows}
    for tally in store.tallies(session, tallies):
        tallies[tally.audit_id].append(tally)
    return [shown_audit(row, tallies[row.id]) for row in rows]


def _shown_items(session: Session, audit_id: UUID, rows: Sequence[LabelAuditItem]) -> list[wire.AuditItem]:
    history: dict[int, list[wire.GivenVerdict]] = {row.number: [] for row in rows}
    for given in store.verdicts(session, audit_id, history):
        history[given.number].append(wire.GivenVerdict.model_validate(given))
    return [shown_item(row, history[row.number]) for row in rows]
