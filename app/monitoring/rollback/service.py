"""Takes a release back automatically if the project's policy says so: see `monitoring.rollback_rule`.

The loop asks the rule in every round. It acts in one transaction, under the project's lock, with the facts as they are
then. If the weights of the release before are damaged, or their verification takes long, the next round tries again.
"""

import logging

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.database import now
from app.monitoring.approval import service as approval
from app.monitoring.approval.comparisons import comparison
from app.monitoring.rollback import store
from app.monitoring.rollback_rule import Facts, decide, facts_of
from app.projects import service as projects
from app.releases import service as releases
from app.releases.periods import periods
from app.webhooks import service as webhooks

log = logging.getLogger(__name__)

#: The author of automatic entries of the ledger.
BY = "monitoring"


def act(session: Session, project: str) -> wire.Release | None:
    """Writes and publishes the entry of the ledger that the rule asks for, if any. Raises as `releases.ship` does."""
    entry = releases.roll_back_if(session, project, lambda: _decision_to_act(session, project), BY)
    if entry is not None:
        _publish(session, entry)
        log.warning("project %s: release %s, %s: %s", project, entry.number, entry.action, entry.reason)
    return entry


def _publish(session: Session, entry: wire.Release) -> None:
    assert entry.decision is not None
    data = wire.ApprovalWebhookData(
        project=entry.project,
        url=webhooks.link(entry.project, "/v1/releases/approval"),
        number=entry.number,
        checkpoint_id=entry.checkpoint_id,
        decision=entry.decision,
    )
    webhooks.publish(session, entry.project, "approval.fell", data)


def failed(session: Session, project: str, message: str) -> None:
    """Stores why a decision could not be carried out."""
    [newest] = releases.ledger(session, project, 1)
    store.put_failure(session, project, newest.number, message)


def state(session: Session, project: str) -> wire.RollbackState | None:
    """Returns what the rule says now; None without a policy. Raises `NotFound`."""
    policy = projects.get(session, project).monitoring.rollback
    if policy is None:
        return None
    facts = _facts(session, project, policy)
    decision, failure = decide(policy, facts), store.failure(session, project)
    if failure is None or failure.ledger != facts.newest or decision.action == "keep":
        return wire.RollbackState(decision=decision, failure=None, failed_at=None)
    return wire.RollbackState(decision=decision, failure=failure.message, failed_at=failure.failed_at)


def _decision_to_act(session: Session, project: str) -> wire.RollbackDecision | None:
    policy = projects.get(session, project).monitoring.rollback
    if policy is None:
        return None
    decision = decide(policy, _facts(session, project, policy))
    return None if decision.action == "keep" else decision


def _facts(session: Session, project: str, policy: wire.RollbackRules) -> Facts:
    ledger, votes = releases.ledger(session, project, approval.ENTRIES), approval.votes(session, project)
    return facts_of(
        ledger,
        periods(ledger),
        read=votes.ledger,
        comparisons=[comparison(stored, policy.confidence) for stored in votes.comparisons],
        watermark=votes.watermark,
        at=now(),
    )
