"""Previews the effect of another policy on a project's feedback, and explains the labels of completions."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl
from sqlalchemy.orm import Session
from thumbwheel import wire
from thumbwheel.wire.previews import DEFAULT_DAYS, PolicyEffect

from app.database import now
from app.errors import NotFound, Refused
from app.feedback import service as feedback
from app.feedback.reading.completions import service as completions
from app.labels import service as labels
from app.labels.policies import service as policies
from app.labels.policies.documents import sha256_of
from app.labels.previews import flips, store, unheard
from app.labels.previews.explanation import CompletionEvent, explanation_of
from app.labels.previews.preview import Named, effect, guards_of, only, said_since, signals_of
from app.labels.previews.shortened_texts import CompletionTexts
from app.labels.quarantine import service as quarantine
from app.labels.summaries import service as summaries
from app.labels.whole_log import resolve
from app.labels.whole_log.events import Log
from app.labels.whole_log.labelled import Labelled


def preview(session: Session, project: str, new: wire.NewPreview) -> wire.Preview:
    """Compares two policies on the same feedback. Changes nothing.

    Raises `NotFound` for an unknown version or snapshot, `Refused` if the snapshot's policy no longer exists.
    """
    since = None if new.snapshot_id else now() - timedelta(days=new.days or DEFAULT_DAYS)
    watermark, before = _compared_with(session, project, new)
    if new.policy is not None:
        after = Named(new.policy, None, sha256_of(new.policy))
    else:
        after = _stored(session, project, new.version or 0)
    read = _Reading(session, project, watermark)
    sides = [read.side(named, since) for named in (before, after)]
    joined = flips.flipped(sides[0].labelled, sides[1].labelled)
    shown = flips.examples_of(joined)
    ids = shown["completion_id"].to_list()
    texts = _texts_of(session, project, ids, watermark)
    return wire.Preview(
        watermark=watermark,
        since=since,
        snapshot_id=new.snapshot_id,
        completions=joined.height,
        before=sides[0].effect,
        after=sides[1].effect,
        flips=flips.matrix(joined, shown, texts, signals_of(sides[1].labelled, ids)),
        unheard=unheard.unheard(after.policy, sides[1].labelled),
    )


def explain(session: Session, project: str, completion_id: str) -> wire.LabelExplanation:
    """Explains the label that the adopted policy gives to a completion. Raises `NotFound` for an unknown completion."""
    watermark = feedback.watermark(session, project)
    stored = policies.adopted(session, project)
    signals = _signals(session, project, completion_id, watermark)
    texts = _texts_of(session, project, [completion_id], watermark).get(completion_id)
    if texts is None:
        by_position = sorted(signals, key=lambda signal: signal.position)
        carrier = next((signal for signal in by_position if signal.completion is not None), None)
        texts = CompletionTexts(carrier.prompt, carrier.completion) if carrier else None
    if not signals and texts is None:
        raise NotFound(
            f"Completion {completion_id} has no feedback yet and is not registered. Check the id.",
            code="completion_not_found",
        )
    figures = summaries.figures(session, project)
    left_out = _left_out(session, project, {signal.actor for signal in signals}, figures)
    return explanation_of(
        completion_id, stored, texts or CompletionTexts(None, None), signals, figures.context(), left_out
    )


def _texts_of(
    session: Session, project: str, completion_ids: Collection[str], watermark: int
) -> dict[str, CompletionTexts]:
    texts = completions.texts(session, project, completion_ids, watermark)
    return {completion_id: CompletionTexts(*text) for completion_id, text in texts.items()}


@dataclass(frozen=True)
class _Side:
    labelled: Labelled
    effect: PolicyEffect


class _Reading:
    """The log up to a watermark, read once for all policies with the same rule for edits."""

    def __init__(self, session: Session, project: str, watermark: int) -> None:
        self._session, self._project, self._watermark = session, project, watermark
        self._logs: dict[str, Log] = {}
        self._prompts: pl.DataFrame | None = None

    def side(self, named: Named, since: datetime | None) -> _Side:
        """Returns the labels of the completions with feedback since then, or of all if `since` is None."""
        everybodys = self.resolved(named.policy)
        left_out = quarantine.left_out(self._session, self._project, named.policy, everybodys)
        labelled = self.resolved(named.policy, left_out) if left_out else everybodys
        if since is not None:
            recent = said_since(self._log(named.policy), since)
            everybodys, labelled = (only(labels_of, recent) for labels_of in (everybodys, labelled))
        if self._prompts is None:
            self._prompts = completions.prompts(self._session, self._project, self._watermark)
        guards = guards_of(named, everybodys, left_out, labelled, self._prompts)
        return _Side(labelled, effect(named, labelled, guards))

    def resolved(self, policy: wire.LabelPolicy, left_out: Collection[str] = ()) -> Labelled:
        """Returns the labels that a policy gives to the whole log."""
        context = labels.context(self._session, self._project, policy, self._watermark)
        return resolve.resolve(policy, self._log(policy), context, sorted(left_out), said=True, judged=True)

    def _log(self, policy: wire.LabelPolicy) -> Log:
        key = policy.signals.edit.model_dump_json()
        if key not in self._logs:
            self._logs[key] = labels.log_of(self._session, self._project, policy, self._watermark)
        return self._logs[key]


def _signals(session: Session, project: str, completion_id: str, watermark: int) -> list[CompletionEvent]:
    rows = completions.signals_about(session, project, completion_id, watermark)
    stands = labels.standing(session, project, {row.completion_id for row in rows}, watermark)
    return [
        CompletionEvent(
            event_id=row.event_id,
            position=row.position,
            occurred_at=row.moment,
            by_arrival=row.by_arrival,
            received_at=row.received_at,
            actor=row.actor,
            signal=row.signal,
            other=row.other,
            prompt=row.prompt,
            completion=row.completion,
            stands=stands.get(row.position, False),  # false: erased in the meantime
        )
        for row in rows
    ]


def _left_out(
    session: Session, project: str, actors: Collection[str], figures: summaries.Figures
) -> dict[str, tuple[str, ...]]:
    """Returns the actors in quarantine among these, with the reasons."""
    decided = quarantine.newest(session, project, actors=actors)
    findings = figures.findings([actor for actor in actors if actor not in decided])
    by_rule = {actor: tuple(quarantine.reason(finding.rule) for finding in own) for actor, own in findings.items()}
    confirmed = (actor for actor, taken in decided.items() if taken.decision == "confirmed")
    return by_rule | dict.fromkeys(confirmed, (quarantine.CONFIRMED,))


def _compared_with(session: Session, project: str, new: wire.NewPreview) -> tuple[int, Named]:
    """Returns the watermark of the comparison, and the policy to compare with."""
    if new.snapshot_id is None:
        watermark = feedback.watermark(session, project)
        adopted = policies.adopted(session, project).version
        return watermark, _stored(session, project, adopted if new.against is None else new.against)
    snapshot = store.snapshot(session, project, new.snapshot_id)
    if snapshot is None:
        raise NotFound(f"Project {project} has no snapshot {new.snapshot_id}.", code="snapshot_not_found")
    watermark, manifest = snapshot
    if new.against is not None:
        return watermark, _stored(session, project, new.against)
    made_by = manifest.get("policy", {})
    sha256 = made_by.get("sha256")
    # Snapshots from before policies had versions name no hash: there was one policy.
    named = _stored(session, project, made_by.get("version", 0) if sha256 else policies.DEFAULT_VERSION)
    if sha256 not in (None, named.sha256):
        raise Refused(
            f"Snapshot {new.snapshot_id} was made by the default policy of an older server. Set `against` to the "
            "version to compare with.",
            code="label_policy_gone",
        )
    return watermark, named


def _stored(session: Session, project: str, version: int) -> Named:
    stored = policies.get(session, project, version)
    return Named(stored.policy, stored.version, stored.sha256)
