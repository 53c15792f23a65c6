"""Finds the months of a project that have expired."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.feedback.expiry import service as expiry
from app.feedback.expiry.service import Month
from app.privacy.holds import service as holds


def months_to_expire(
    session: Session, project: wire.Project, last_rules: Callable[[str], dict[str, Any] | None]
) -> list[Month]:
    """Returns the expired months of which the project has feedback that no hold covers, oldest first.

    last_rules  returns the rule by which a month was last deleted, None if it never was

    Raises `Unavailable` if actors are held whose hashes this process lacks the key of.
    """
    name, rules = project.project, project.retention
    in_force = holds.look(session, name)
    if rules.months is None or in_force.whole:
        return []
    before = expiry.keeps_from(rules.months)
    held = in_force.held(session)
    months = [
        month
        for month in expiry.months_with(session, name, before)
        if not held or expiry.has_free(session, name, month, held)
    ]
    # Registered texts, audits and snapshots expire also in months without an event, and by a stricter rule.
    newest = expiry.month_of(before - timedelta(days=1))
    last = last_rules(newest.name)
    stricter = last is not None and (last["snapshots"], rules.snapshots) == ("keep", "redact")
    if newest not in months and (stricter or (last is None and project.created_at < before)):
        months.append(newest)
    return months
