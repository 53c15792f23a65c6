"""Stores approvals and quarantine findings of a project, so that requests need not read its log.

Every round of the loop reads the logs with new events (`refresh`) and stores the figures for requests. A request itself
reads a small log that has grown since. For a large log there is no answer until the loop has read it with the adopted
policy and all decisions and erasures: the figures of another policy are never shown.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from time import perf_counter
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.database import now
from app.errors import Unavailable
from app.feedback import service as feedback
from app.labels import service as labels
from app.labels.policies import service as policies
from app.labels.quarantine import service as quarantine
from app.labels.resolving import resolved
from app.labels.summaries import store
from app.labels.summaries.summary import Reader, Summary, approval, summarised
from app.labels.summaries.tables import LogSummary
from app.labels.verdicts import Context
from app.projects import service as projects
from app.webhooks import service as webhooks

#: The largest share of the time that is spent on reading one log repeatedly.
PART = 0.05

Findings = Mapping[str, Sequence[wire.QuarantineFinding]]


class Figures(Protocol):
    """The figures of a log up to a watermark."""

    @property
    def watermark(self) -> int: ...

    def context(self) -> Context:
        """Returns the facts that the adopted policy needs in addition to the signals of one completion."""
        ...

    def approvals(self) -> list[wire.Approval]:
        """Returns the approvals of all checkpoints, by id."""
        ...

    def findings(self, actors: Collection[str]) -> Findings:
        """Returns the findings on these actors; actors without findings are absent."""
        ...

    def actors(self, state: wire.QuarantineState | None, after: str, limit: int) -> list[str]:
        """Returns the first actors after this one, in the order of ids, with a finding or a decision."""
        ...


def figures(session: Session, project: str) -> Figures:
    """Returns the figures of the adopted policy. Raises `Unavailable` until those of a large log are computed."""
    header, basis = store.summary(session, project), _basis(session, project)
    if labels.is_large(session, project):
        if header is None or _differs(header, basis, "policy_sha256", "erasures"):
            raise _pending("a large log is read in the background")
        return _Stored(session, project, header)
    watermark = feedback.watermark(session, project)
    if header is not None and header.watermark == watermark and not _differs(header, basis):
        return _Stored(session, project, header)
    return _read(session, project, watermark, keep=False)


def stored_approvals(session: Session, project: str) -> dict[UUID, wire.Approval]:
    """Returns the approvals that the loop last stored, by checkpoint; none if the policy, the decisions or the erasures
    have changed since.
    """
    if not is_current(session, project):
        return {}
    return {row.checkpoint_id: row for row in _approvals(session, project)}


def is_current(session: Session, project: str) -> bool:
    """Returns whether the loop has read the log with the adopted policy, and with all decisions and erasures."""
    header = store.summary(session, project)
    return header is not None and not _differs(header, _basis(session, project))


def undecided(session: Session) -> dict[str, int]:
    """Returns the number of actors of each project with a finding on whom nobody has decided, as last read."""
    return dict(store.undecided(session))


def read_up_to(session: Session, project: str) -> int:
    """Returns the watermark up to which the loop last read the log; 0 before the first time."""
    header = store.summary(session, project)
    return 0 if header is None else header.watermark


def refresh(
    session: Session,
    project: str,
    *,
    changed: bool = False,
    segments: Sequence[str] = (),
    also: Reader | None = None,
) -> bool:
    """Reads the log again if something is new in it and it was not read just now; returns whether it was read.

    changed   whether to read it although nothing is new, since what `also` makes of it has changed
    segments  keys of metadata that `also` needs: see `labels.logs`
    also      receives the log part by part; if the log was read, the caller holds the project's lock
    """
    header, basis = store.summary(session, project), _basis(session, project)
    watermark = feedback.watermark(session, project)
    if header is not None and not _differs(header, basis):
        resting = timedelta(seconds=header.seconds / PART)
        if (header.watermark == watermark and not changed) or now() - header.read_at < resting:
            return False
    began = perf_counter()
    fresh = _read(session, project, watermark, keep=True, segments=segments, also=also)
    projects.lock(session, project)
    if projects.erasures(session, project) != basis["erasures"]:  # it may contain names that were erased meanwhile
        return False
    context = fresh.context()
    header_values = {
        "watermark": watermark,
        "as_of": context.as_of,
        "rating_median": context.rating_median,
        "seconds": perf_counter() - began,
        "read_at": now(),
    }
    _publish_found(session, project, fresh)
    store.put(session, project, {**basis, **header_values}, fresh.summary)
    return True


def _publish_found(session: Session, project: str, fresh: "_Fresh") -> None:
    """Publishes how many actors the rules found that no stored finding and no decision is about."""
    undecided = fresh.summary.findings.keys() - fresh.decisions.keys()
    new = undecided - store.findings(session, project, undecided).keys()
    if new:
        rules = sorted({finding.rule for actor in new for finding in fresh.summary.findings[actor]})
        url = webhooks.link(project, "/v1/quarantine")
        data = wire.FindingsWebhookData(project=project, url=url, new_actors=len(new), rules=rules)
        webhooks.publish(session, project, "quarantine.found", data)


def forget(session: Session, project: str, erased: str | None = None) -> None:
    """Deletes the stored figures, as they may contain the ids of actors and completions of deleted events. Actors who
    were found stay known as such, so that they are not published again, except the erased one.
    """
    store.forget_events(session, project, erased)


@dataclass(frozen=True)
class _Fresh:
    """The figures of a log that was just read."""

    watermark: int
    facts: Context
    summary: Summary
    decisions: Mapping[str, wire.QuarantineDecision]

    def context(self) -> Context:
        return self.facts

    def approvals(self) -> list[wire.Approval]:
        return self.summary.approvals

    def findings(self, actors: Collection[str]) -> Findings:
        return {actor: self.summary.findings[actor] for actor in actors if actor in self.summary.findings}

    def actors(self, state: wire.QuarantineState | None, after: str, limit: int) -> list[str]:
        listed = sorted(actor for actor in self.summary.findings.keys() | self.decisions.keys() if actor > after)
        if state is not None:
            listed = [
                actor
                for actor in listed
                if (self.decisions[actor].decision if actor in self.decisions else "quarantined") == state
            ]
        return listed[:limit]


class _Stored:
    """The figures of a log that the loop has read."""

    def __init__(self, session: Session, project: str, header: LogSummary) -> None:
        self.watermark = header.watermark
        self._session, self._project, self._header = session, project, header

    def context(self) -> Context:
        end = labels.as_of(self._session, self._project, labels.EVERYTHING)
        return Context(end, self._header.rating_median)

    def approvals(self) -> list[wire.Approval]:
        if self._header.decisions != quarantine.decisions(self._session, self._project):
            raise _pending("an operator has decided on an actor in quarantine")
        return _approvals(self._session, self._project)

    def findings(self, actors: Collection[str]) -> Findings:
        stored = store.findings(self._session, self._project, actors)
        return {
            actor: [wire.QuarantineFinding.model_validate(finding) for finding in findings]
            for actor, findings in stored.items()
        }

    def actors(self, state: wire.QuarantineState | None, after: str, limit: int) -> list[str]:
        return store.actors(self._session, self._project, state, after, limit)


def _read(
    session: Session,
    project: str,
    watermark: int,
    *,
    keep: bool,
    segments: Sequence[str] = (),
    also: Reader | None = None,
) -> _Fresh:
    policy = policies.adopted(session, project).policy
    with resolved(session, project, policy, watermark, keep=keep, segments=segments) as log:
        return _Fresh(watermark, log.context, summarised(log, also), quarantine.newest(session, project))


def _basis(session: Session, project: str) -> dict[str, Any]:
    """Returns all that a summary rests on, except the log."""
    return {
        "policy_sha256": policies.adopted(session, project).sha256,
        "decisions": quarantine.decisions(session, project),
        "erasures": projects.erasures(session, project),
    }


def _approvals(session: Session, project: str) -> list[wire.Approval]:
    rows = store.approvals(session, project)
    return [approval(row.checkpoint_id, row.desirable, row.undesirable) for row in rows]


def _pending(why: str) -> Unavailable:
    return Unavailable(
        f"These figures are being computed: {why}. Try again in a moment. If this persists, `thumbwheel doctor` "
        "reports whether the loop still runs.",
        code="summary_pending",
    )


def _differs(header: LogSummary, basis: Mapping[str, Any], *names: str) -> bool:
    return any(getattr(header, name) != basis[name] for name in names or basis)
